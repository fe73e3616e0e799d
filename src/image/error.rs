//! What can go wrong with an image.

use crate::oci::Digest;
use crate::registry::RegistryError;
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
