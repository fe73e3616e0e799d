//! Containers run for real, in each mode, with a root tree made of busybox.

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
