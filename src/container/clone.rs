//! Cloning: from a container to one just like it.

use std::io::{BufWriter, Write};

use super::ContainerError;
use super::binds::put_back_files;
use super::create::{CreateOptions, build};
use crate::engine::namespace::enter_ranges;
use crate::host::file_system::can_share_blocks;
use crate::host::fs::{self as host_fs, FsError};
use crate::host::new_file::NewFile;
use crate::host::space;
use crate::progress::{Progress, Unit};
use crate::rootfs::{Attributes, copy_tree, least_copy};
use crate::spec::ATTRIBUTES_FILE;
use crate::spec::{MOUNT_POINT_FILE, MOUNT_POINTS_FILE};
use crate::store::{Container, Store};

/// Makes a copy of a container, with all that it has beside its root, but for what concerns a run.
/// Where no blocks can be shared, it is looked beforehand whether there is room for it.
///
/// # Errors
/// The name is taken; something cannot be read, or is removed meanwhile; the disk is full. Nothing
/// is left then. A container that udocker.py has tied to its place is refused.
pub fn clone(
    store: &Store,
    source: &Container,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    // In the Fakechroot modes files inside hold the container's own path.
    if let Some(mode) = source.execmode().filter(|mode| mode.starts_with('F')) {
        return Err(ContainerError::Tied {
            container: source.id.to_string(),
            mode,
        });
    }
    source.config_bytes()?;
    put_back_files(source);
    // So that files of others can be read and keep their owners, should it have run with id ranges.
    enter_ranges();
    let attributes = Attributes::load(&source.entry(ATTRIBUTES_FILE))?;
    build(store, options, |staged| {
        if can_share_blocks(staged.path()).is_err() {
            let task = progress.watch("measuring the container", Unit::Files);
            // What cannot be measured, or is removed meanwhile, is told of by copying.
            if let Ok(need) = least_copy(&source.directory, &*task) {
                space::require(&store.layout().containers, need)?;
            }
        }
        let task = progress.watch("copying the container", Unit::Bytes);
        let path = staged.path().join(ATTRIBUTES_FILE);
        let copied_attributes = NewFile::create(&path)?;
        let mut out = BufWriter::new(copied_attributes.file());
        let copied = copy_tree(
            &source.directory,
            staged.path(),
            &attributes,
            &mut out,
            &*task,
        );
        source.ensure_present()?;
        copied?;
        out.flush().map_err(FsError::at("write", &path))?;
        drop(out);
        copied_attributes.publish(true)?;
        // A run has made those in the source.
        for note in [MOUNT_POINTS_FILE, MOUNT_POINT_FILE] {
            host_fs::remove_file(&staged.path().join(note))?;
        }
        Ok(())
    })
}
