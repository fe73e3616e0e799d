//! The vocabulary of container images: digests, references, manifests, platforms.
//!
//! These are values only: no file and no network is read here, and a value that exists is valid.
//!
//! Sources: OCI image-spec v1.1; OCI distribution-spec v1.1; Docker image manifest version 2,
//! schema 2.

mod config;
mod credential;
mod digest;
mod document;
mod local_name;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod registry_url;

pub use config::{CONFIG_MAX_BYTES, ImageConfig, ProcessConfig};
pub use credential::{Credential, FoundCredential, Secret};
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Hasher};
pub use document::RawObject;
pub(crate) use document::first;
pub use local_name::LocalName;
pub use manifest::{
    ConfigSource, Descriptor, Index, IndexEntry, MANIFEST_MAX_BYTES, Manifest, ManifestError,
    ParsedManifest,
};
pub use media_type::MediaType;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, TagOrDigest};
pub use registry_url::{
    DOCKER_HUB, DOCKER_HUB_REGISTRY, RegistryUrl, RegistryUrlError, is_docker_hub_host,
};
