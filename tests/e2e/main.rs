//! Real work in a real distribution: its package manager, compilers, Python and git, run by the
//! executable in containers of a distribution image. `scripts/test.sh` makes the image.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod packages;
mod work;
