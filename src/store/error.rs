//! What can go wrong in the repository.

use std::path::PathBuf;

use super::container_names::NameError;
use crate::host::fs::FsError;
use crate::oci::{Digest, ManifestError};

/// An operation on the repository that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// No such image.
    #[error("there is no image '{0}' here")]
    NoImage(String),
    /// An image name that is in use.
    #[error("there is an image '{0}' already")]
    ImageExists(String),
    /// An image name whose directory others have, or would have, a file in place of.
    #[error(
        "image '{image}' cannot be kept beside the others: '{}' would belong to two of them",
        path.display()
    )]
    NameClash {
        /// The name.
        image: String,
        /// What both would have.
        path: PathBuf,
    },
    /// No such container.
    #[error("there is no container '{0}' here")]
    NoContainer(String),
    /// Marked against removal.
    #[error("'{0}' is protected")]
    Protected(String),
    /// A container name or id that is in use.
    #[error("the name '{0}' is taken")]
    NameTaken(String),
    /// A name that no container has.
    #[error("no container has the name '{0}'")]
    NoName(String),
    /// A text that cannot be a container name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A stored image lacks something or contradicts itself.
    #[error("image '{image}' is damaged: {reason}")]
    DamagedImage {
        /// Its name.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// A stored manifest that is none.
    #[error("image '{image}' is damaged: {source}")]
    DamagedManifest {
        /// Its name.
        image: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A container's metadata cannot be read.
    #[error("container '{container}' is damaged: '{}': {reason}", path.display())]
    DamagedContainer {
        /// Its id.
        container: String,
        /// The file concerned.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process removed a blob just before it was used.
    #[error("blob {0} has just been removed by another process")]
    BlobVanished(Digest),
}

impl StoreError {
    /// Whether the repository cannot be written by this user.
    pub fn is_read_only(&self) -> bool {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, StoreError::Fs(error)
            if matches!(error.source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }
}
