//! The registry client against servers: a fake one that misbehaves, and the real one.

#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod blobs;
mod client;
mod images;
mod real;
mod transport;
