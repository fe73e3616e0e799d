//! Cloning a container.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;

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

/// Makes a copy of a container and of its metadata, except for that of a run. If blocks cannot be
/// shared, free space is checked first.
///
/// # Errors
/// The name is taken; the container cannot be read, or is removed meanwhile; the disk is full; or
/// `ContainerError::Tied`, if udocker.py has tied the container to its place. Nothing is left
/// behind then.
pub fn clone(
    store: &Store,
    source: &Container,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    // In the Fakechroot modes, files inside hold the path of the container.
    if let Some(mode) = source.execmode().filter(|mode| mode.starts_with('F')) {
        return Err(ContainerError::Tied {
            container: source.id.to_string(),
            mode,
        });
    }
    source.config_bytes()?;
    put_back_files(source);
    // If it has run with id ranges, this lets files of other owners be read and copied with them.
    enter_ranges();
    let attributes = Attributes::load(&source.entry(ATTRIBUTES_FILE))?;
    build(store, options, |staged| {
        if can_share_blocks(staged.path()).is_err() {
            let task = progress.watch("measuring the container", Unit::Files);
            // If measuring fails, copying reports the error.
            if let Ok(need) = least_copy(&source.directory, &*task) {
                space::require(&store.layout().containers, need)?;
            }
        }
        let task = progress.watch("copying the container", Unit::Bytes);
        let path = staged.path().join(ATTRIBUTES_FILE);
        let copied_attributes = NewFile::create(&path)?;
        // As PRoot creates it: the owners and modes in it count for an export.
        let private = Permissions::from_mode(0o600);
        let restricted = copied_attributes.file().set_permissions(private);
        restricted.map_err(FsError::at("set the mode of", &path))?;
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
        // These belong to a run of the source.
        for note in [MOUNT_POINTS_FILE, MOUNT_POINT_FILE] {
            host_fs::remove_file(&staged.path().join(note))?;
        }
        Ok(())
    })
}
