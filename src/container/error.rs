//! Errors of workflows on containers.

use std::io;
use std::path::PathBuf;

use crate::host::fs::FsError;
use crate::image::ImageError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

/// Why a workflow on a container failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The repository failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The layers, or the tree made of them, failed.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The container only works in its place.
    #[error(
        "container '{container}' is set up for mode {mode}, which ties its files to their place"
    )]
    Tied {
        /// Its id.
        container: String,
        /// The execution mode that ties it.
        mode: String,
    },
    /// The archive is no exported container.
    #[error("it is no container exported with `--clone`: {0}")]
    NoClone(String),
    /// The archive holds no files.
    #[error("it holds no files: it is no tar archive, or an empty one")]
    NothingInside,
    /// The image failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The host has no NVIDIA driver.
    #[error("this machine has no NVIDIA libraries")]
    NoNvidia,
    /// The container has NVIDIA files already.
    #[error("the container has NVIDIA files already: '{}'", .0.display())]
    NvidiaPresent(PathBuf),
    /// The container has none of the known library directories.
    #[error("the container has no directory for NVIDIA libraries, such as /usr/lib64")]
    NoLibraryDirectory,
    /// There is no directory for the files of a run.
    #[error(transparent)]
    NoScratch(FsError),
    /// An operation on another file failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl ContainerError {
    /// Replaces the error of a system call on files of the container by what `explain` makes of it.
    #[must_use]
    pub fn explained(self, explain: impl FnOnce(io::Error) -> io::Error) -> ContainerError {
        match self {
            ContainerError::Rootfs(error) => ContainerError::Rootfs(error.explained(explain)),
            other => other,
        }
    }
}
