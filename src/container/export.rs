//! Exporting a container to an archive.

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
    /// The root file system, with the attributes that emulated root has set.
    Tree,
    /// The whole container, as `export --clone` of udocker.py writes it. Files have the attributes
    /// that they have on the host, since udocker.py cannot unpack device nodes.
    Clone,
}

/// Writes a container to `out` as a tar archive, and returns `out`.
///
/// # Errors
/// The container cannot be read, or is removed meanwhile; `out` cannot be written.
pub fn export<W: Write>(
    container: &Container,
    form: ExportForm,
    out: W,
    progress: &dyn Progress,
) -> Result<W, ContainerError> {
    put_back_files(container);
    // If it has run with id ranges, this lets files of other owners be read.
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
