//! What can go wrong between this program and a registry.
//!
//! Text that came from a server is cleaned of secrets and control characters before it gets here,
//! and addresses are shown without passwords and query strings.

use std::error::Error;
use std::io;
use std::sync::Arc;

use crate::oci::{Digest, Platform, RegistryUrl, TagOrDigest};

use super::unreachable::Unreachable;

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// A proxy that cannot be used.
    #[error("cannot use the proxy '{proxy}': {reason}")]
    Proxy {
        /// The proxy, without user and password.
        proxy: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(#[source] reqwest::Error),
    /// Names of hosts cannot be resolved without random numbers.
    #[error(
        "names of hosts cannot be resolved without random numbers, and neither the system nor \
         /dev/random and /dev/urandom give any"
    )]
    NoRandomNumbers,
    /// The login data cannot be read.
    #[error("cannot read the credentials for '{registry}': {source}")]
    Credentials {
        /// The registry they are for.
        registry: RegistryUrl,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A registry address that is none.
    #[error("'{registry}' is not an address: {source}")]
    Address {
        /// The registry.
        registry: RegistryUrl,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The address of an index that is none.
    #[error("'{index}' is not the address of an index: {reason}")]
    Index {
        /// What was given.
        index: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither a search nor a catalogue.
    #[error("'{place}' offers no search")]
    NoSearch {
        /// The index or registry.
        place: String,
    },
    /// No search, and a catalogue that strangers may not read.
    #[error(
        "'{registry}' offers no search, and lists its repositories only after a login{}",
        detail(.message)
    )]
    CatalogLogin {
        /// The registry.
        registry: RegistryUrl,
        /// What it said; may be empty.
        message: String,
    },
    /// No answer.
    #[error("cannot reach '{url}': {source}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        source: Unreachable,
    },
    /// A redirect that is not followed.
    #[error("'{url}' sent a redirect that is not followed: {reason}")]
    Redirect {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// 401 without anything this program can answer.
    #[error("'{registry}' asks for a way to authenticate that is not supported here: '{offered}'")]
    UnsupportedChallenge {
        /// The registry.
        registry: RegistryUrl,
        /// Its `WWW-Authenticate` headers.
        offered: String,
    },
    /// A token would travel over an unprotected connection, or from nowhere.
    #[error("the token server '{realm}' that '{registry}' names cannot be used: {reason}")]
    Realm {
        /// The registry.
        registry: RegistryUrl,
        /// What it named.
        realm: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token server answered, but with no token.
    #[error("the token server '{realm}' sent no token: {reason}")]
    NoToken {
        /// Whom we asked.
        realm: String,
        /// What it said.
        reason: String,
    },
    /// The registry wants to know who asks.
    #[error("'{registry}' requires a login{}{}", purpose(.repository), detail(.message))]
    LoginRequired {
        /// The registry.
        registry: RegistryUrl,
        /// What it is required for; empty for the registry itself.
        repository: String,
        /// What it said; may be empty.
        message: String,
    },
    /// User name, password or token are wrong.
    #[error("'{registry}' rejects the user name or password{}", detail(.message))]
    BadCredentials {
        /// The registry.
        registry: RegistryUrl,
        /// What it said; may be empty.
        message: String,
    },
    /// Who asks is known, or need not be, but may not have this.
    #[error("'{registry}' denies access to '{what}'{}", detail(.message))]
    Denied {
        /// The registry.
        registry: RegistryUrl,
        /// The repository, or a page of the registry.
        what: String,
        /// What it said; may be empty.
        message: String,
    },
    /// The repository or the tag is not there.
    #[error("'{registry}' has no '{tag_or_digest}' of '{repository}'{}", detail(.message))]
    NoSuchManifest {
        /// The registry.
        registry: RegistryUrl,
        /// The repository in it.
        repository: String,
        /// Tag or digest.
        tag_or_digest: TagOrDigest,
        /// What it said; may be empty.
        message: String,
    },
    /// Something other than an image is not there.
    #[error("'{registry}' does not have '{what}'{}", detail(.message))]
    NotFound {
        /// The registry.
        registry: RegistryUrl,
        /// What was asked for.
        what: String,
        /// What it said; may be empty.
        message: String,
    },
    /// Too many requests.
    #[error("'{url}' refuses further requests for now{}", detail(.message))]
    RateLimited {
        /// What was asked for.
        url: String,
        /// What it said, with limits and waiting time where it told them.
        message: String,
    },
    /// Any other status than success.
    #[error("'{url}' answered with status {status}{}", detail(.message))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it said; may be empty.
        message: String,
    },
    /// Success, but not what a registry would say.
    #[error("'{url}' did not answer like a registry: {reason}")]
    NotARegistry {
        /// What was asked for.
        url: String,
        /// What was found.
        reason: String,
    },
    /// More bytes than such a document may have.
    #[error("the answer of '{url}' is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// A manifest that is none.
    #[error(
        "'{registry}' sent for '{tag_or_digest}' of '{repository}' what cannot be used: {reason}"
    )]
    Manifest {
        /// The registry.
        registry: RegistryUrl,
        /// The repository in it.
        repository: String,
        /// Tag or digest.
        tag_or_digest: TagOrDigest,
        /// What is wrong with it.
        reason: String,
    },
    /// A manifest whose bytes are not the ones named.
    #[error("the manifest of '{repository}' does not have the digest {expected} but {found}")]
    ManifestDigest {
        /// The repository.
        repository: String,
        /// What was asked for or announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// No image for the platform.
    #[error("'{repository}' has no image for {wanted}, only for {}", list(.available))]
    NoSuchPlatform {
        /// The repository.
        repository: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: Vec<String>,
    },
    /// Indexes inside indexes, too deep or in a circle.
    #[error("the index {digest} of '{repository}' is nested too deeply")]
    IndexTooDeep {
        /// The repository.
        repository: String,
        /// The index that was one too many.
        digest: Digest,
    },
    /// A blob that is not what the manifest says.
    #[error("blob {digest} from '{registry}' is damaged: {fault}")]
    Blob {
        /// The registry.
        registry: RegistryUrl,
        /// The blob.
        digest: Digest,
        /// How.
        fault: BlobFault,
    },
    /// A blob whose download keeps breaking off.
    #[error("the download of blob {digest} from '{url}' broke off at {received} bytes: {source}")]
    Interrupted {
        /// The blob.
        digest: Digest,
        /// Where it came from.
        url: String,
        /// How far it got.
        received: u64,
        /// Why.
        source: Unreachable,
    },
    /// The bytes cannot be kept.
    #[error("cannot keep blob {digest}: {source}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// The sink's answer.
        source: io::Error,
    },
}

impl RegistryError {
    /// Whether the registry, or the token server it names, turned the user's login down.
    pub fn is_rejection(&self) -> bool {
        matches!(
            self,
            RegistryError::BadCredentials { .. }
                | RegistryError::LoginRequired { .. }
                | RegistryError::Denied { .. }
        )
    }

    /// Whether another name for the same image is worth a try: the registry does not have this
    /// one, or does not tell strangers whether it has it.
    pub(super) fn is_absent(&self) -> bool {
        matches!(
            self,
            RegistryError::NoSuchManifest { .. }
                | RegistryError::NotFound { .. }
                | RegistryError::Denied { .. }
                | RegistryError::LoginRequired { .. }
        )
    }

    /// Whether it is the registry's last word, as opposed to a failure that may be a moment's.
    pub(super) fn is_definite(&self) -> bool {
        !matches!(self, RegistryError::Status { .. })
    }

    /// Whether it is, or a registry that stands before another one may mean it so.
    pub(super) fn may_be_absent(&self) -> bool {
        match self {
            RegistryError::BadCredentials { .. } => true,
            RegistryError::Status { status, .. } => matches!(status, 400 | 500),
            other => other.is_absent(),
        }
    }
}

/// How the bytes of a blob differ from its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobFault {
    /// More bytes than announced.
    #[error("more than the {expected} bytes that the manifest says")]
    TooLong {
        /// What the manifest says.
        expected: u64,
    },
    /// Fewer bytes than announced.
    #[error("{found} bytes instead of the {expected} that the manifest says")]
    TooShort {
        /// What the manifest says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Other bytes than announced.
    #[error("its digest is {found}")]
    Digest {
        /// Of what came.
        found: Digest,
    },
}

/// Registries do not tell strangers what there is.
fn purpose(repository: &str) -> String {
    if repository.is_empty() {
        String::new()
    } else {
        format!(" for '{repository}', or does not have it")
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "none that it names".to_string()
    } else {
        items.join(", ")
    }
}
