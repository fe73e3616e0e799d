//! Containers run for real: the embedded PRoot and a root tree made of busybox.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

mod lifetime;
mod sandbox;
mod sight;
mod status;
