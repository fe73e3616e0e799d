//! The repository on disk, shared with udocker.py.
//!
//! ```text
//! TOP/
//! ├── repos/<repository>/<tag>/     an image, once it holds a file TAG (see `images`)
//! ├── layers/<digest>               blobs: layers and configurations (see `blobs`)
//! │   ├── .lock                     held while images and blobs are published or removed
//! │   ├── .pulling                  shared by pulls, so that `garbage` leaves their blobs alone
//! │   └── .staging/                 unfinished downloads, which the next pull resumes; files of
//! │                                 imports (see `import_staging`); marks of damaged blobs
//! ├── containers/<id>/              a container (see `containers`)
//! │   └── <name> -> <id>            its names
//! ├── .containers.staging/          containers being created or removed (inside `containers` if it
//! │                                 is a mount, or its parent directory cannot be written)
//! ├── .containers.trees/            trees of images, to clone containers from (see `image_trees`)
//! ├── .containers.fingerprints/     fingerprints of new containers (see `fingerprints`)
//! ├── bin/                          the engine's executables
//! ├── lib/, doc/                    udocker.py's own
//! ```
//!
//! Nothing is visible under its final name before it is whole: a file is written beside it, synced
//! and renamed. The rename is the commit. The next command removes or resumes what a killed process
//! has left in a staging directory.

mod blobs;
mod container_names;
mod container_staging;
mod containers;
mod error;
mod fingerprints;
mod garbage;
mod image_content;
mod image_trees;
mod images;
mod import_staging;
mod layout;
mod links;
mod lock;
mod new_images;
mod staging;
#[cfg(test)]
mod testing;

pub use blobs::{Blobs, StagedBlob, Staging};
pub use container_names::{ContainerId, ContainerName, NameError};
pub use container_staging::StagedContainer;
pub use containers::{Container, RootState};
pub use error::StoreError;
pub use garbage::{Age, Garbage, UnlinkedBlobs};
pub use image_content::{ImageContent, LayerFile};
pub use image_trees::{ImageTree, KeptTrees};
pub use images::{Form, Image};
pub use import_staging::ImportStaging;
pub use layout::{Layout, ROOT};
pub use lock::Lock;
pub use new_images::{NewBlob, NewImage};

use std::path::Path;

use crate::host::fs::{self, FsError};

/// The repository: one value, passed to every workflow.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// Opens the repository at `layout`. Nothing is read or created yet.
    pub fn open(layout: Layout) -> Store {
        Store {
            layout: layout.absolute(),
        }
    }

    /// The paths of its parts.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The stored bytes of images.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs::new(&self.layout)
    }

    /// Whether there is a repository at all.
    pub fn exists(&self) -> bool {
        self.layout.layers.is_dir()
    }

    /// Creates the directories that are missing, before something is written. Those that neither
    /// images nor containers need may stay missing: they may be set to a place that is not the
    /// user's.
    ///
    /// # Errors
    /// `StoreError::Fs` if a directory of images or containers cannot be created.
    pub fn ensure(&self) -> Result<(), StoreError> {
        for directory in self.layout.others() {
            let _ = ensure_directory(directory);
        }
        for directory in self.layout.stores() {
            ensure_directory(directory)?;
        }
        Ok(())
    }

    /// Creates all directories that are missing.
    ///
    /// # Errors
    /// `StoreError::Fs` if one cannot be created.
    pub fn ensure_all(&self) -> Result<(), StoreError> {
        for directory in self.layout.others() {
            ensure_directory(directory)?;
        }
        self.ensure()
    }
}

fn ensure_directory(directory: &Path) -> Result<(), FsError> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_and_containers_need_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let usual = Layout::below(&directory.path().join("top"));
        let unneeded = Layout {
            top: file.join("top"),
            bin: file.join("bin"),
            lib: file.join("lib"),
            doc: file.join("doc"),
            ..usual.clone()
        };
        let store = Store::open(unneeded);
        store.ensure().unwrap();
        assert!(store.exists() && usual.repos.is_dir() && usual.containers.is_dir());
        assert!(store.ensure_all().is_err());
        let without_layers = Layout {
            layers: file.join("layers"),
            ..usual.clone()
        };
        assert!(Store::open(without_layers).ensure().is_err());
        Store::open(usual.clone()).ensure().unwrap();
        assert!(usual.bin.is_dir() && usual.lib.is_dir() && usual.doc.is_dir());
    }
}
