//! The repository on disk, shared with udocker.py.
//!
//! ```text
//! TOP/
//! ├── repos/<repository>/<tag>/     an image, once it holds a file TAG (see `images`)
//! ├── layers/<digest>               blobs: layers and configurations (see `blobs`)
//! │   ├── .lock                     held while images and blobs are published or removed
//! │   ├── .pulling                  shared by pulls, so that `garbage` leaves their blobs alone
//! │   └── .staging/                 blobs on their way, resumed by the next pull; those of archives (see `import_staging`);
//! │                                 and which blobs are known to be damaged
//! ├── containers/<id>/              a container (see `containers`)
//! │   └── <name> -> <id>            its names
//! ├── .containers.staging/          containers on their way in or out (in `containers`, where that
//! │                                 is a mount, or what is beside it cannot be written)
//! ├── .containers.trees/            trees of images, to clone containers from (see `image_trees`)
//! ├── .containers.fingerprints/         what containers were, to copy others from (see `fingerprints`)
//! ├── bin/                          the engine's executables
//! ├── lib/, doc/                    udocker.py's own
//! ```
//!
//! Nothing is visible under its final name before it is whole: it is written beside it, synced
//! and renamed. A rename is the commit; what a killed process left in a staging folder is swept
//! away or resumed by the next command.

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
pub use layout::Layout;
pub use lock::Lock;
pub use new_images::{NewBlob, NewImage};

use crate::host::fs;

/// The repository: one value, passed to every workflow.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// Opens the repository at `layout`. Nothing is read or made yet.
    pub fn open(layout: Layout) -> Store {
        Store {
            layout: layout.absolute(),
        }
    }

    /// Where things are.
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

    /// Makes the directories that are missing, before something is written.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn ensure(&self) -> Result<(), StoreError> {
        for directory in self.layout.directories() {
            if !directory.is_dir() {
                fs::create_dir_all(directory)?;
            }
        }
        Ok(())
    }
}
