//! Exporting: from a container to an archive.

use std::io::Write;

use super::ContainerError;
use super::binds::put_back_files;
use crate::engine::namespace::enter_ranges;
use crate::progress::{Counted, Progress, Unit};
use crate::rootfs::{Attributes, pack_tree};
use crate::spec::ATTRIBUTES_FILE;
use crate::store::Container;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportForm {
    /// The root file system, as emulated root sees it.
    Tree,
    /// The whole container, as udocker.py's `export --clone` writes it, and as the host sees it:
    /// udocker.py could not unpack device nodes.
    Clone,
}

/// Writes a container to `out` as a tar archive, and returns `out`.
///
/// # Errors
/// Something cannot be read, or is removed meanwhile; `out` cannot be written.
pub fn export<W: Write>(
    container: &Container,
    form: ExportForm,
    out: W,
    progress: &dyn Progress,
) -> Result<W, ContainerError> {
    put_back_files(container);
    // So that files of others can be read, should it have run with id ranges.
    enter_ranges();
    let (directory, attributes) = match form {
        ExportForm::Tree => {
            let attributes = Attributes::load(&container.entry(ATTRIBUTES_FILE))?;
            (container.root(), attributes)
        }
        ExportForm::Clone => (container.directory.clone(), Attributes::default()),
    };
    let task = progress.watch("exporting the container", Unit::Bytes);
    let packed = pack_tree(&directory, &attributes, Counted::new(out, &*task));
    container.ensure_present()?;
    Ok(packed?.into_inner())
}
