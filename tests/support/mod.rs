//! Code that integration tests share. Each test binary uses a part of it.
#![allow(
    dead_code,
    missing_docs,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "compiled into several test binaries, none of which uses everything"
)]

pub mod archives;
pub mod container;
pub mod entry_kinds;
pub mod fake_registry;
pub mod image;
pub mod layer_builder;
pub mod prepared;
pub mod refusal;
pub mod registry_server;
pub mod requirement;
pub mod sandbox;
pub mod tls;
pub mod tree;
pub mod udocker_py;
pub mod wait;
pub mod xattrs;
