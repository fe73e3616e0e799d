//! Workflows on images: what `udocker pull`, `verify` and their like do, without the terminal.

mod arrivals;
mod error;
mod pull;
mod verify;

pub use arrivals::{Arrivals, ArrivingBlob, ArrivingContent};
pub use error::ImageError;
pub use pull::{PullRequest, pull};
pub use verify::{VerifyReport, verify};
