//! What can go wrong with a container.

use std::io;
use std::path::PathBuf;

use crate::host::fs::FsError;
use crate::image::ImageError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

/// A workflow on a container that failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The repository.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The layers, or the tree made of them.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A container that only works where it is.
    #[error(
        "container '{container}' is set up for mode {mode}, which ties its files to their place"
    )]
    Tied {
        /// Its id.
        container: String,
        /// The mode.
        mode: String,
    },
    /// An archive that is no exported container.
    #[error("it is no container exported with `--clone`: {0}")]
    NoClone(String),
    /// An archive without a single file.
    #[error("it holds no files: it is no tar archive, or an empty one")]
    NothingInside,
    /// The image it is to be made of.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The host has no NVIDIA driver.
    #[error("this machine has no NVIDIA libraries")]
    NoNvidia,
    /// NVIDIA files are in the container already.
    #[error("the container has NVIDIA files already: '{}'", .0.display())]
    NvidiaPresent(PathBuf),
    /// The container keeps its libraries elsewhere.
    #[error("the container has no directory for NVIDIA libraries, such as /usr/lib64")]
    NoLibraryDirectory,
    /// The file system, elsewhere.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl ContainerError {
    /// The same failure with what the system said about files of the container replaced by what
    /// `explain` makes of it.
    #[must_use]
    pub fn explained(self, explain: impl FnOnce(io::Error) -> io::Error) -> ContainerError {
        match self {
            ContainerError::Rootfs(error) => ContainerError::Rootfs(error.explained(explain)),
            other => other,
        }
    }
}
