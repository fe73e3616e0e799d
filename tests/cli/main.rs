//! Commands as a shell sees them: images and containers into archives and out of them, their
//! copies and names. Other programs read what ours writes, and write what ours reads.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../e2e/tree.rs"]
mod tree;

mod archives;
mod both_ways;
mod clone;
mod exchange;
mod export;
mod hostile;
mod image_trees;
mod import;
mod load;
mod memory;
mod names;
mod places;
mod save;
mod twins;
