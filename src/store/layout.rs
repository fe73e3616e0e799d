//! The only builder of paths inside the repository.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, access};

use super::container_names::ContainerId;
use crate::host::file_system::is_mount_root;
use crate::oci::{Digest, LocalName};

/// The name of the root file system in a container's directory.
pub const ROOT: &str = "ROOT";

/// The paths of the repository's parts, which can be on different file systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Top directory.
    pub top: PathBuf,
    /// Engine executables.
    pub bin: PathBuf,
    /// udocker.py's libraries.
    pub lib: PathBuf,
    /// Documentation and licences.
    pub doc: PathBuf,
    /// Images.
    pub repos: PathBuf,
    /// Layers and configurations.
    pub layers: PathBuf,
    /// Containers.
    pub containers: PathBuf,
}

impl Layout {
    /// The layout with all parts at their usual places below `top`.
    pub fn below(top: &Path) -> Layout {
        Layout {
            top: top.to_path_buf(),
            bin: top.join("bin"),
            lib: top.join("lib"),
            doc: top.join("doc"),
            repos: top.join("repos"),
            layers: top.join("layers"),
            containers: top.join("containers"),
        }
    }

    /// The same layout with absolute paths, which can be used from a link's directory too.
    pub(super) fn absolute(self) -> Layout {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Layout {
            top: absolute(self.top),
            bin: absolute(self.bin),
            lib: absolute(self.lib),
            doc: absolute(self.doc),
            repos: absolute(self.repos),
            layers: absolute(self.layers),
            containers: absolute(self.containers),
        }
    }

    /// The directories of images and containers, without which nothing can be stored.
    pub(super) fn stores(&self) -> [&Path; 3] {
        [&self.repos, &self.layers, &self.containers]
    }

    /// The other directories. Where the engine cannot be unpacked, it is run from elsewhere.
    pub(super) fn others(&self) -> [&Path; 4] {
        [&self.top, &self.bin, &self.lib, &self.doc]
    }

    /// The directory of an image.
    pub fn image(&self, name: &LocalName) -> PathBuf {
        self.repos.join(&name.repository).join(&name.tag)
    }

    /// A blob under its final name.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.layers.join(digest.to_string())
    }

    /// Held while images and blobs are published or removed.
    pub(super) fn images_lock(&self) -> PathBuf {
        self.layers.join(".lock")
    }

    /// Held shared by each pull.
    pub(super) fn pull_lock(&self) -> PathBuf {
        self.layers.join(".pulling")
    }

    /// Unfinished downloads and imports.
    pub(super) fn blob_staging(&self) -> PathBuf {
        self.layers.join(".staging")
    }

    /// The directory of a container.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers.join(id.as_str())
    }

    /// The root file system of a container.
    pub fn container_root(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join(ROOT)
    }

    /// The staging directory of containers. It is beside `containers`, since udocker.py lists every
    /// directory inside that; it is inside where it cannot be beside.
    pub(super) fn container_staging(&self) -> PathBuf {
        self.beside_containers("staging")
    }

    /// Trees of images, each named by the chain id of its layers and by the boot in which it was
    /// written (see `image_trees`).
    pub(super) fn image_trees(&self) -> PathBuf {
        self.beside_containers("trees")
    }

    /// Fingerprints of containers when they were created (see `fingerprints`).
    pub(super) fn fingerprints(&self) -> PathBuf {
        self.beside_containers("fingerprints")
    }

    fn beside_containers(&self, what: &str) -> PathBuf {
        // If `containers` is a symbolic link, renames have to stay on its target's file system.
        let containers = self
            .containers
            .canonicalize()
            .unwrap_or_else(|_| self.containers.clone());
        let name = containers.file_name().unwrap_or_default().to_string_lossy();
        let beside = containers.with_file_name(format!(".{name}.{what}"));
        let parent = containers.parent().unwrap_or(&containers);
        let can_be_beside = beside.is_dir() || access(parent, Access::WRITE_OK).is_ok();
        if can_be_beside && !is_mount(&containers) {
            beside
        } else {
            containers.join(format!(".{what}"))
        }
    }
}

/// Whether a directory in `repos` or `containers` with this name is the file system's own, such as
/// `lost+found` or snapshots. Neither images nor containers have names that begin with a dot.
pub(super) fn is_of_file_system(name: &OsStr) -> bool {
    name == "lost+found" || name.as_encoded_bytes().starts_with(b".")
}

/// Whether `directory` is a mount or a subvolume, so that nothing beside it can be renamed into it.
/// Kernels before 5.8 do not report mounts of the same file system.
fn is_mount(directory: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|meta| meta.dev()).ok();
    is_mount_root(CWD, directory, AtFlags::empty()) == Some(true)
        || device(directory) != directory.parent().and_then(device)
}
