//! What integration tests share. Each test binary uses a part of it.
#![allow(
    dead_code,
    clippy::print_stderr,
    unreachable_pub,
    reason = "compiled into several test binaries, none of which uses everything"
)]

pub mod image;
pub mod requirement;
pub mod sandbox;
pub mod udocker_py;
