//! Errors of requests to registries.
//!
//! Server text in these errors contains no secrets and no control characters, and addresses contain
//! no passwords and no query strings.

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
    /// A proxy cannot be used.
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
    /// Host names cannot be resolved, because the system gives no random numbers.
    #[error(
        "cannot resolve host names without random numbers: /dev/random and /dev/urandom cannot be \
         read"
    )]
    NoRandomNumbers,
    /// The user's login cannot be read.
    #[error("cannot read the credentials for '{registry}': {source}")]
    Credentials {
        /// The registry they are for.
        registry: RegistryUrl,
        /// Why it cannot be read.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The address of a registry is not valid.
    #[error("'{registry}' is not an address: {source}")]
    Address {
        /// The registry.
        registry: RegistryUrl,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The address of an index is not valid.
    #[error("'{index}' is not the address of an index: {reason}")]
    Index {
        /// The address, without a login.
        index: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server offers neither a search nor a catalogue.
    #[error("'{place}' offers no search")]
    NoSearch {
        /// The index or registry.
        place: String,
    },
    /// The registry offers no search, and shows its catalogue only after a login.
    #[error(
        "'{registry}' offers no search, and lists its repositories only after a login{}",
        detail(.message)
    )]
    CatalogLogin {
        /// The registry.
        registry: RegistryUrl,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The server could not be reached.
    #[error("cannot reach '{url}'{}: {source}", through(.proxy))]
    Unreachable {
        /// The address of the request.
        url: String,
        /// The proxy that the request went to, without user and password.
        proxy: Option<String>,
        /// Why the server could not be reached.
        source: Unreachable,
    },
    /// A redirect is not followed.
    #[error("'{url}' sent a redirect that is not followed: {reason}")]
    Redirect {
        /// The address that sent the redirect.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The registry asks for authentication of an unknown kind.
    #[error("'{registry}' offers no supported way to authenticate: '{offered}'")]
    UnsupportedChallenge {
        /// The registry.
        registry: RegistryUrl,
        /// Its `WWW-Authenticate` headers.
        offered: String,
    },
    /// The token server cannot be used.
    #[error("the token server '{realm}' that '{registry}' names cannot be used: {reason}")]
    Realm {
        /// The registry.
        registry: RegistryUrl,
        /// The address of the token server.
        realm: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token server answered without a token.
    #[error("the token server '{realm}' sent no token: {reason}")]
    NoToken {
        /// The address of the token server.
        realm: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The registry requires a login, and the user has none.
    #[error("'{registry}' requires a login{}{}", purpose(.repository), detail(.message))]
    LoginRequired {
        /// The registry.
        registry: RegistryUrl,
        /// The repository that needs the login; empty for the registry itself.
        repository: String,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The registry rejects the user name, password or token.
    #[error(
        "'{registry}' rejects the user name or password{}{}",
        from(.origin),
        detail(.message)
    )]
    BadCredentials {
        /// The registry.
        registry: RegistryUrl,
        /// What they were read from; empty if the user typed them.
        origin: String,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The registry denies access, to this login or to everyone.
    #[error("'{registry}' denies access to '{what}'{}", detail(.message))]
    Denied {
        /// The registry.
        registry: RegistryUrl,
        /// The repository, or a path of the registry.
        what: String,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The registry does not have the repository or the tag.
    #[error("'{registry}' has no '{tag_or_digest}' of '{repository}'{}", detail(.message))]
    NoSuchManifest {
        /// The registry.
        registry: RegistryUrl,
        /// The repository.
        repository: String,
        /// The tag or digest.
        tag_or_digest: TagOrDigest,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The registry does not have something other than a manifest.
    #[error("'{registry}' does not have '{what}'{}", detail(.message))]
    NotFound {
        /// The registry.
        registry: RegistryUrl,
        /// The repository, blob or path.
        what: String,
        /// The registry's explanation; may be empty.
        message: String,
    },
    /// The server limits the rate of requests.
    #[error("'{url}' refuses further requests for now{}", detail(.message))]
    RateLimited {
        /// The address of the request.
        url: String,
        /// The server's explanation, with limits and waiting time if it sent them.
        message: String,
    },
    /// Any other unsuccessful status.
    #[error("'{url}' answered with status {status}{}", detail(.message))]
    Status {
        /// The address of the request.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's explanation; may be empty.
        message: String,
    },
    /// The server answered with success, but not as a registry does.
    #[error("'{url}' did not answer like a registry: {reason}")]
    NotARegistry {
        /// The address of the request.
        url: String,
        /// What the server sent.
        reason: String,
    },
    /// The answer is larger than such a document may be.
    #[error("the answer of '{url}' is larger than {limit} bytes")]
    TooLarge {
        /// The address of the request.
        url: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The registry sent an invalid manifest.
    #[error(
        "the manifest '{tag_or_digest}' of '{repository}' at '{registry}' is not valid: {reason}"
    )]
    Manifest {
        /// The registry.
        registry: RegistryUrl,
        /// The repository.
        repository: String,
        /// The tag or digest.
        tag_or_digest: TagOrDigest,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes of a manifest do not have its digest.
    #[error("the manifest of '{repository}' does not have the digest {expected} but {found}")]
    ManifestDigest {
        /// The repository.
        repository: String,
        /// The digest that was requested or announced.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The repository has no image for the platform.
    #[error("'{repository}' has no image for {wanted}{}", only_for(.available))]
    NoSuchPlatform {
        /// The repository.
        repository: String,
        /// The requested platform.
        wanted: Platform,
        /// The platforms that the repository has; empty if it names none.
        available: Vec<String>,
    },
    /// Indexes are nested too deeply.
    #[error("the index {digest} of '{repository}' is nested too deeply")]
    IndexTooDeep {
        /// The repository.
        repository: String,
        /// The index at which the search ended.
        digest: Digest,
    },
    /// The bytes of a blob differ from its descriptor.
    #[error("blob {digest} from '{registry}' is damaged: {fault}")]
    Blob {
        /// The registry.
        registry: RegistryUrl,
        /// The blob.
        digest: Digest,
        /// The difference.
        fault: BlobFault,
    },
    /// The download of a blob keeps breaking off.
    #[error("the download of blob {digest} from '{url}' broke off at {received} bytes: {source}")]
    Interrupted {
        /// The blob.
        digest: Digest,
        /// The address of the download.
        url: String,
        /// How many bytes were received.
        received: u64,
        /// Why the download broke off last.
        source: Unreachable,
    },
    /// The bytes of a blob cannot be stored.
    #[error("cannot store blob {digest}: {source}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// The error of the sink.
        source: io::Error,
    },
}

impl RegistryError {
    /// Whether the registry, or its token server, rejected the user's login or asks for one.
    pub fn is_rejection(&self) -> bool {
        matches!(
            self,
            RegistryError::BadCredentials { .. }
                | RegistryError::LoginRequired { .. }
                | RegistryError::Denied { .. }
        )
    }

    /// Whether the same request may succeed later, or from another place: the registry cannot be
    /// reached, or is overloaded.
    pub fn may_pass(&self) -> bool {
        match self {
            RegistryError::Unreachable { source, .. } => {
                !source.is_plain() && !source.is_untrusted()
            }
            RegistryError::RateLimited { .. } => true,
            RegistryError::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether another name for the same image is worth a try: the registry does not have this one,
    /// or does not tell anonymous users whether it has it.
    pub(super) fn is_absent(&self) -> bool {
        matches!(
            self,
            RegistryError::NoSuchManifest { .. }
                | RegistryError::NotFound { .. }
                | RegistryError::Denied { .. }
                | RegistryError::LoginRequired { .. }
        )
    }

    /// Whether this is the registry's final answer, not a failure that may be temporary.
    pub(super) fn is_definite(&self) -> bool {
        !matches!(self, RegistryError::Status { .. })
    }

    /// Like [`RegistryError::is_absent`], and true also for errors by which a proxy of another
    /// registry may report that the image is absent.
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
    /// The blob has more bytes than announced.
    #[error("more than the {expected} bytes that the manifest names")]
    TooLong {
        /// The size in the manifest.
        expected: u64,
    },
    /// The blob has fewer bytes than announced.
    #[error("{found} bytes instead of the {expected} that the manifest names")]
    TooShort {
        /// The size in the manifest.
        expected: u64,
        /// The size of the received bytes.
        found: u64,
    },
    /// The blob has a different digest.
    #[error("its digest is {found}")]
    Digest {
        /// The digest of the received bytes.
        found: Digest,
    },
}

/// Registries do not tell anonymous users whether a private repository exists.
fn purpose(repository: &str) -> String {
    if repository.is_empty() {
        String::new()
    } else {
        format!(" for '{repository}', or does not have it")
    }
}

fn from(origin: &str) -> String {
    if origin.is_empty() {
        String::new()
    } else {
        format!(" from {origin}")
    }
}

fn through(proxy: &Option<String>) -> String {
    match proxy {
        Some(proxy) => format!(" through the proxy '{proxy}'"),
        None => String::new(),
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn only_for(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return String::new();
    }
    format!(", only for {}", platforms.join(", "))
}
