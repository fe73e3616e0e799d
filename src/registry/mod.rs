//! The client of OCI registries: manifests, blobs, tags and catalogues.
//!
//! The client blocks and can be shared: the threads that fetch layers use one [`Client`] and one
//! token per repository. It does not know the local store: it writes bytes to a [`BlobSink`] and
//! takes logins from a [`CredentialSource`].
//!
//! ```text
//! client   what a caller asks for ──┬─ resolve    index → image for a platform
//!                                   ├─ blob       streamed, checked, resumed
//!                                   ├─ listing    tags and catalogue, page by page
//!                                   └─ search     Docker Hub, Quay, or the catalogue
//! auth     challenge → login or token, kept until it expires
//! transport  one HTTP exchange: host names, proxies, TLS, redirects, retries
//! ```
//!
//! Server text gets into messages through `secrets` alone, which removes the passwords and tokens
//! that were sent.
//!
//! Sources: OCI distribution-spec v1.1; the distribution project's token authentication.

mod api_error;
mod auth;
mod blob;
mod challenge;
mod client;
mod dns;
mod error;
mod listing;
mod manifest;
mod proxy;
mod redirect;
mod resolve;
mod retry;
mod search;
mod secrets;
mod server_text;
mod tls;
mod token;
mod transport;
mod unreachable;

pub use auth::{CredentialSource, CredentialSourceError, NoCredentials};
pub use blob::BlobSink;
pub use client::{Client, ClientOptions, LoginCheck, Trace};
pub use error::{BlobFault, RegistryError};
pub use listing::Names;
pub use manifest::FetchedManifest;
pub use proxy::{Proxies, without_login};
pub use resolve::ResolvedImage;
pub use retry::RetryPolicy;
pub use search::{FoundRepository, Search, SearchPlace};
pub use tls::TrustedCertificates;
pub use unreachable::{Unreachable, Wait};
