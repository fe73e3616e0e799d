//! What can go wrong with an image.

use crate::archive::ArchiveError;
use crate::host::fs::FsError;
use crate::oci::{DiffId, Digest};
use crate::registry::RegistryError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

/// Why a workflow on an image failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The registry, or the connection to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The repository.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation outside the repository.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// An archive of images.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A layer that cannot be unpacked.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// An archive in which two images have one name.
    #[error("two of its images are called '{0}'")]
    NameTwice(String),
    /// One name was given for an archive of several images.
    #[error("'{name}' can be the name of one image, and there are {count} in the archive")]
    OneNameForMany {
        /// The name.
        name: String,
        /// How many images there are.
        count: usize,
    },
    /// An archive whose configuration has another number of layers.
    #[error("its configuration lists {expected} layers, and there are {found}")]
    LayerCount {
        /// The number of layers in the configuration.
        expected: usize,
        /// The number of layers in the archive.
        found: usize,
    },
    /// A layer whose diff_id is not the one in the configuration.
    #[error(
        "its layer '{name}' is damaged: it unpacks to {found}, its configuration says {expected}"
    )]
    WrongLayer {
        /// Its path in the archive.
        name: String,
        /// The diff_id in the configuration.
        expected: DiffId,
        /// The diff_id of the layer.
        found: DiffId,
    },
    /// An archive to be imported that has no files.
    #[error("'{0}' holds no files: it is no tar archive, or an empty one")]
    NothingInside(String),
    /// The configuration cannot be parsed.
    #[error("the image configuration {digest} is not valid: {source}")]
    Config {
        /// Its digest.
        digest: Digest,
        /// The cause.
        source: serde_json::Error,
    },
    /// The configuration is for another platform.
    #[error("the image is for {found}, not for {wanted}")]
    Platform {
        /// The platform asked for.
        wanted: String,
        /// The platform in the configuration.
        found: String,
    },
}
