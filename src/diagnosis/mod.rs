//! The workflow of `udocker doctor`: finds out what this host allows.
//!
//! [`Facts::gather`] tries things out and leaves no files behind; [`findings()`] decides what the
//! facts mean, and uses neither files nor processes.

mod facts;
mod finding;
mod findings;

pub use facts::{DirState, Facts, Probe, ProbedDir, Purpose, Repository, Request};
pub use finding::{Finding, Remedy, Verdict, Who};
pub use findings::{findings, modes};
