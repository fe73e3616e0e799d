//! Importing: from an archive to a container, without an image.

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
use crate::store::{Container, Store};
use crate::stream::{Compression, sniffed};

/// Where archives of containers are unpacked, inside the container.
const UNPACKING: &str = ".unpacking";

/// What a container cannot be without.
const CONFIG: &str = "container.json";

/// The directories that are taken from an archive: the root tree, and udocker.py's notes on what
/// its modes R put in there.
const DIRECTORIES: [&str; 3] = ["ROOT", ".bind_orig_files", ".mountpoints"];

/// The files that are taken from an archive: what both programs write, and what udocker.py needs to
/// leave its modes F. All else is left out. Above all that are the notes which engines keep on the
/// tree: they speak of inodes and paths that are others here, and are believed.
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

/// Makes a container of an archive of a root file system. `image` is what it is said to be made
/// from.
///
/// # Errors
/// The archive is none, or holds what is refused; the name is taken. Nothing is left then.
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

/// Makes a container of an archive that `export --clone` wrote, ours or udocker.py's.
///
/// # Errors
/// The archive is none, or not of a container; the name is taken. Nothing is left then.
pub fn import_clone(
    store: &Store,
    archive: Layer<'_>,
    options: &CreateOptions,
    progress: &dyn Progress,
) -> Result<Container, ContainerError> {
    build(store, options, |staged| {
        // Not in the container's directory itself: the archive says who may enter what it is
        // unpacked into, and nobody else may enter a container.
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
    // What is not compressed may take less than the archive, on a file system that compresses.
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

/// Refuses what is no container: parts that are missing, and links in place of parts, which
/// would lead to files of this host.
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
    let mut root = fs::read_dir(directory.join("ROOT")).into_iter().flatten();
    if root.next().is_none() {
        return Err(ContainerError::NoClone("its 'ROOT' is empty".to_string()));
    }
    Ok(())
}
