//! Programs that call udocker: their command lines, and the programs themselves.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod desktop;
mod packages;
mod place;
mod scripts;
mod workflows;
