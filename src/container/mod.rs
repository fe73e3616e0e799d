//! Workflows on containers: what `udocker create`, `run`, `rm` and their like do, without the
//! terminal.

mod binds;
mod clone;
mod copy_source;
mod create;
mod error;
mod export;
mod image_tree;
mod import;
mod nvidia;
mod remove;
mod run;

pub use binds::undo_udocker_py_binds;
pub use clone::clone;
pub use create::{CreateOptions, create, pull_and_create};
pub use error::ContainerError;
pub use export::{ExportForm, export};
pub use image_tree::{ImageTrees, sweep_image_trees};
pub use import::{import_clone, import_tree};
pub use nvidia::add_nvidia;
pub use remove::{Swept, remove, sweep};
pub use run::{RunTarget, scratch_directory};
