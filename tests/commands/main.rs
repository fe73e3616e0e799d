//! Subcommands as scripts and people call them: the executable itself against registries on
//! loopback, and repositories of a test's own.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod attributes;
mod auto;
mod config;
mod container;
mod docker;
mod doctor;
mod hints;
mod id_ranges;
mod inherited;
mod killed;
mod limits;
mod login;
mod manifest;
mod old_kernels;
mod options;
mod s1;
mod search;
mod setup;
