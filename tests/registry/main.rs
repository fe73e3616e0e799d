//! The registry client against servers: a fake one that misbehaves, and the real one.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "../support/fake_registry.rs"]
mod fake_registry;
#[path = "../support/registry_server.rs"]
mod registry_server;
#[path = "../support/tls.rs"]
mod tls;

mod auth;
mod blobs;
mod client;
mod images;
mod real;
mod transport;
