//! What can go wrong with an image.

use super::NewNameError;
use crate::archive::ArchiveError;
use crate::host::fs::FsError;
use crate::oci::{DiffId, Digest};
use crate::registry::RegistryError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

/// A workflow on an image that failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The registry, or the way there.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The repository.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system, elsewhere.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// An archive of images.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A layer.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A name that no image can have.
    #[error(transparent)]
    Name(#[from] NewNameError),
    /// An archive with one name twice.
    #[error("two of its images are called '{0}'")]
    NameTwice(String),
    /// One name for an archive of several images.
    #[error("'{name}' can be the name of one image, and there are {count} in the archive")]
    OneNameForMany {
        /// The name.
        name: String,
        /// How many images there are.
        count: usize,
    },
    /// An archive whose configuration is that of something else.
    #[error("its configuration lists {said} layers, and there are {found}")]
    LayerCount {
        /// Layers in the configuration.
        said: usize,
        /// Layers in the archive.
        found: usize,
    },
    /// A layer that is not the one of the configuration.
    #[error("its layer '{name}' is damaged: it unpacks to {found}, its configuration says {said}")]
    WrongLayer {
        /// Its path in the archive.
        name: String,
        /// The digest in the configuration.
        said: DiffId,
        /// The digest of what is there.
        found: DiffId,
    },
    /// An archive to import without a single file.
    #[error("'{0}' holds no files: it is no tar archive, or an empty one")]
    NothingInside(String),
    /// The configuration that came is none.
    #[error("the image configuration {digest} is not valid: {source}")]
    Config {
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The configuration that came is for another platform.
    #[error("the image is for {found}, not for {wanted}")]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What the configuration says.
        found: String,
    },
}
