//! Workflows on containers: what `udocker create`, `run`, `rm` and their like do, without the terminal.

mod clone;
mod create;
mod error;
mod export;
mod import;
mod remove;
mod run;

pub use clone::clone;
pub use create::{CreateOptions, create};
pub use error::ContainerError;
pub use export::{ExportForm, export};
pub use import::{import_clone, import_tree};
pub use remove::{remove, sweep};
pub use run::RunTarget;
