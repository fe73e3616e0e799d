//! Workflows on containers: what `udocker create`, `run` and `rm` do, without the terminal.

mod create;
mod error;
mod remove;
mod run;

pub use create::{CreateOptions, create, pull_and_create};
pub use error::ContainerError;
pub use remove::{remove, sweep};
pub use run::RunTarget;
