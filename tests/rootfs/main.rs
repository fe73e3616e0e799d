//! Applying layers: comparison with `umoci`, and hostile or damaged layers.

#![allow(
    clippy::unwrap_used,
    reason = "what a test cannot do without is a failure of the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod damaged;
mod entry_kinds;
mod hostile;
mod limits;
mod prefetch;
mod removal;
mod rules;
mod umoci;
mod unpack;
