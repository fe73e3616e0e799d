//! What this host allows: the workflow behind `udocker doctor`.
//!
//! [`Facts::gather`] tries things out and writes nothing that stays; [`findings()`] decides what that
//! means, and knows neither files nor processes.

mod facts;
mod finding;
mod findings;

pub use facts::{Facts, PlaceState, Probe, ProbedDir, Purpose, Repository, Request};
pub use finding::{Finding, Remedy, Verdict, Who};
pub use findings::{findings, modes};
