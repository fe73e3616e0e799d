//! Importing a container from an archive, without an image.

use std::fs;
use std::path::Path;

use super::ContainerError;
use super::create::{CreateOptions, build};
use crate::host::fs::{self as host_fs, FsError};
use crate::host::space::{self, Need, Room};
use crate::image::imported_config;
use crate::oci::{CONFIG_MAX_BYTES, ImageConfig, LocalName, Platform};
use crate::progress::{Progress, Silent};
use crate::rootfs::{self, ApplyOptions, Layer, RootfsError, Summary, TarError, remove_tree};
use crate::store::{Container, ROOT, Store};
use crate::stream::{Compression, sniffed};

/// The directory, in the container's, to which an archive is unpacked.
const UNPACKING: &str = ".unpacking";

/// The file that every container has.
const CONFIG: &str = "container.json";

/// The directories that are taken from an archive: the root, and udocker.py's notes on what its
/// modes R put there.
const DIRECTORIES: [&str; 3] = [ROOT, ".bind_orig_files", ".mountpoints"];

/// The files that are taken from an archive: those that both programs write, and those that
/// udocker.py needs to leave its modes F. All others are left out, above all the notes of engines
/// on the tree: they hold inodes and paths of the original, and would be trusted.
const FILES: [&str; 11] = [
    CONFIG,
    "imagerepo.name",
    "execmode",
    "PROTECT",
    "nvidia",
    "root.path",
    "ld.so.path",
    "ld.so.orig",
    "ld.lib.dirs",
    "patch.time",
    "patch.path",
];

/// Makes a container of an archive of a root file system. `image` is noted as its image.
///
/// # Errors
/// `ContainerError::NothingInside` if the archive is empty; errors of [`rootfs::apply_layers`]; the
/// name is taken; the disk is full. Nothing is left behind then.
pub fn import_tree(
    store: &Store,
    archive: Layer<'_>,
    image: &LocalName,
    platform: &Platform,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    build(store, options, |staged| {
        let summary = unpack(&staged.root(), archive, options.unpacking(), progress)?;
        if summary.entries == 0 {
            return Err(ContainerError::NothingInside);
        }
        let config = imported_config(platform, None);
        staged.write_metadata(&config, &image.to_string())?;
        Ok(())
    })
}

/// Makes a container of an archive that `export --clone` of this program or of udocker.py wrote.
///
/// # Errors
/// `ContainerError::NoClone` if it is no such archive; errors of [`rootfs::apply_layers`]; the name
/// is taken; the disk is full. Nothing is left behind then.
pub fn import_clone(
    store: &Store,
    archive: Layer<'_>,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    build(store, options, |staged| {
        // It is not unpacked to the container's directory itself, since the archive sets the mode
        // of its root, and other users must not enter a container.
        let inside = staged.path().join(UNPACKING);
        host_fs::create_dir_all(&inside)?;
        unpack(&inside, archive, options.unpacking(), progress)?;
        check_clone(&inside)?;
        remove_directory(&staged.root())?;
        for name in DIRECTORIES.iter().chain(&FILES) {
            match host_fs::rename(&inside.join(name), &staged.path().join(name)) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(remove_tree(&inside, &Silent)?)
    })
}

fn remove_directory(directory: &Path) -> Result<(), ContainerError> {
    Ok(fs::remove_dir(directory).map_err(FsError::at("remove", directory))?)
}

fn unpack(
    directory: &Path,
    archive: Layer<'_>,
    unpacking: ApplyOptions<'_>,
    progress: &dyn Progress,
) -> Result<Summary, ContainerError> {
    let (room, size) = (Room::at(directory), archive.size);
    let (compression, source) = sniffed(archive.source).map_err(|error| RootfsError::Archive {
        layer: archive.name.clone(),
        source: TarError::Read(error),
    })?;
    // An uncompressed archive may take less space, on a file system that compresses.
    if let Some(bytes) = size
        && compression != Compression::None
    {
        space::require(directory, Need { bytes, files: 0 })?;
    }
    let archive = Layer { source, ..archive };
    let layers = std::iter::once(Ok::<_, ContainerError>(archive));
    rootfs::apply_layers(directory, layers, unpacking, progress)
        .map_err(|error| error.explained(|source| room.explain(source, size)))
}

/// Refuses an archive that lacks parts of a container, or has links in their place, which would
/// lead to files of the host.
fn check_clone(directory: &Path) -> Result<(), ContainerError> {
    let is_wrong = |name: &&&str| {
        let data = fs::symlink_metadata(directory.join(name));
        data.is_ok_and(|data| match DIRECTORIES.contains(*name) {
            true => !data.is_dir(),
            false => !data.is_file(),
        })
    };
    if let Some(name) = DIRECTORIES.iter().chain(&FILES).find(is_wrong) {
        return Err(ContainerError::NoClone(format!(
            "'{name}' is of a wrong kind"
        )));
    }
    let path = directory.join(CONFIG);
    if !path.is_file() {
        return Err(ContainerError::NoClone(format!("it lacks '{CONFIG}'")));
    }
    let bytes = host_fs::read_limited(&path, CONFIG_MAX_BYTES)?;
    ImageConfig::parse(&bytes).map_err(|error| {
        ContainerError::NoClone(format!("its '{CONFIG}' is not valid: {error}"))
    })?;
    let mut root = fs::read_dir(directory.join(ROOT)).into_iter().flatten();
    if root.next().is_none() {
        return Err(ContainerError::NoClone(format!("its '{ROOT}' is empty")));
    }
    Ok(())
}
