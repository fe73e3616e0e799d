//! The main job on real input: images of a real distribution from real registries, created and run
//! by the executable itself. `scripts/test.sh` makes the image and installs the servers.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod commands;
mod create;
mod interrupts;
mod packages;
mod prepared;
mod pull;
mod run;
mod tree;
mod users;
mod work;
