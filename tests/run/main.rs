//! Runs of containers with a busybox rootfs, in each execution mode.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, may panic anywhere, and its harness catches what it prints"
)]

#[path = "../support/mod.rs"]
mod support;

mod guest_run;
mod guest_view;
mod ids;
mod isolation;
mod lifetime;
mod namespace;
mod nested;
mod refusals;
mod status;
