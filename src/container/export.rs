//! Exporting: from a container to an archive.

use std::io::Write;

use super::ContainerError;
use crate::engine::namespace::enter_ranges;
use crate::rootfs::pack_tree;
use crate::store::Container;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportForm {
    /// The root file system.
    Tree,
    /// The whole container, as udocker.py's `export --clone` writes it.
    Clone,
}

/// Writes a container to `out` as a tar archive, and returns `out`.
///
/// # Errors
/// Something cannot be read; `out` cannot be written.
pub fn export<W: Write>(
    container: &Container,
    form: ExportForm,
    out: W,
) -> Result<W, ContainerError> {
    // So that files of others can be read, should it have run with id ranges.
    enter_ranges();
    let directory = match form {
        ExportForm::Tree => container.root(),
        ExportForm::Clone => container.directory.clone(),
    };
    Ok(pack_tree(&directory, out)?)
}
