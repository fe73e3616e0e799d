//! Workflows on containers: what `udocker create`, `run` and `rm` do, without the terminal.

mod binds;
mod create;
mod error;
mod nvidia;
mod remove;
mod run;

pub use binds::take_back_binds;
pub use create::{CreateOptions, create, pull_and_create};
pub use error::ContainerError;
pub use nvidia::add_nvidia;
pub use remove::{remove, sweep};
pub use run::RunTarget;
