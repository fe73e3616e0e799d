//! What can go wrong with a container.

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
    /// The image it is to be made of.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system, elsewhere.
    #[error(transparent)]
    Fs(#[from] FsError),
}
