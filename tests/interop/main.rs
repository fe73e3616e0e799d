//! udocker.py and this program on the same repository and the same archives.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod exchange;
mod shared_repository;
