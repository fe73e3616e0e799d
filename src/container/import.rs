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
use crate::rootfs::{self, ApplyOptions, ArchiveError, Layer, RootfsError, Summary, remove_tree};
use crate::spec::ATTRIBUTES_FILE;
use crate::store::{Container, Store};
use crate::stream::{Compression, sniffed};

/// Where archives of containers are unpacked, inside the container.
const UNPACKING: &str = ".unpacking";

/// What a container cannot be without.
const CONFIG: &str = "container.json";

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

/// Makes a container of an archive that `export --clone` wrote, ours or udocker.py's. What emulated
/// root made of the files there is left out: it is known by their inodes and times of birth, which
/// are others here.
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
        let at = || FsError::at("list", &inside);
        for entry in fs::read_dir(&inside).map_err(at())? {
            let entry = entry.map_err(at())?;
            if entry.file_name() != ATTRIBUTES_FILE {
                host_fs::rename(&entry.path(), &staged.path().join(entry.file_name()))?;
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
        source: ArchiveError::Read(error),
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
    let at = || FsError::at("list", directory);
    for entry in fs::read_dir(directory).map_err(at())? {
        let entry = entry.map_err(at())?;
        let kind = entry.file_type().map_err(at())?;
        let name = entry.file_name();
        let is_right = match name.to_str() {
            Some("ROOT") => kind.is_dir(),
            _ => kind.is_dir() || kind.is_file(),
        };
        if !is_right {
            let name = name.to_string_lossy().escape_debug().to_string();
            return Err(ContainerError::NoClone(format!(
                "'{name}' is of a wrong kind"
            )));
        }
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
