//! The registry client with a fake server that misbehaves, and with the real docker-registry.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod blobs;
mod client;
mod images;
mod real;
mod transport;
