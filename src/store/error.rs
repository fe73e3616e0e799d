//! What can go wrong in the repository.

use std::path::PathBuf;

use super::container_names::NameError;
use crate::host::fs::FsError;
use crate::oci::{Digest, ManifestError};

/// An operation on the repository that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// No such image.
    #[error("there is no image '{0}' here")]
    NoImage(String),
    /// Another image has this name.
    #[error("there is an image '{0}' already")]
    ImageExists(String),
    /// The directory of one image would be in the place of a file of another image.
    #[error(
        "image '{image}' cannot be kept beside the others: '{}' would belong to two of them",
        path.display()
    )]
    NameClash {
        /// Its name.
        image: String,
        /// The path that both would need.
        path: PathBuf,
    },
    /// No such container. Programs look for "invalid container id", which udocker.py prints.
    #[error("invalid container id or name '{0}': there is no such container here")]
    NoContainer(String),
    /// The image or container is protected against removal.
    #[error("'{0}' is protected")]
    Protected(String),
    /// Another container has this name. Programs look for udocker.py's words in this one too.
    #[error("container name already exists: '{0}'")]
    NameTaken(String),
    /// No container has this name.
    #[error("no container has the name '{0}'")]
    NoName(String),
    /// The text cannot be a container name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A stored image lacks a part or contradicts itself.
    #[error("image '{image}' is damaged: {reason}")]
    DamagedImage {
        /// Its name.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// A stored manifest cannot be parsed.
    #[error("image '{image}' is damaged: {source}")]
    DamagedManifest {
        /// Its name.
        image: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A container's metadata cannot be read or parsed.
    #[error("container '{container}' is damaged: '{}': {reason}", path.display())]
    DamagedContainer {
        /// Its id.
        container: String,
        /// The file with the metadata.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process has removed a blob just before an image was to link to it.
    #[error("blob {0} has just been removed by another process")]
    BlobVanished(Digest),
}

impl StoreError {
    /// Whether this user may not write to the repository.
    pub fn is_read_only(&self) -> bool {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, StoreError::Fs(error)
            if matches!(error.source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }
}
