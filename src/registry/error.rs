//! What can go wrong between this program and a registry.
//!
//! Text that came from a server is cleaned of secrets and control characters before it gets here,
//! and addresses are shown without passwords and query strings.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use serde::Deserialize;
use url::Url;

use crate::oci::{Digest, Platform, RegistryUrl, TagOrDigest};

use super::secrets::SentSecrets;

/// Longest text of a server that is repeated in a message, in characters.
const SHOWN_MAX_CHARS: usize = 300;

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

/// Why no answer, or only a part of one, came.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Nothing came for as long as one is willing to wait.
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// Something came, but next to nothing.
    #[error("hardly anything of the answer within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    /// The connection could not be made, or broke.
    #[error("{}", deepest(.0))]
    Connection(#[source] reqwest::Error),
    /// The connection broke while the answer was read.
    #[error("{}", deepest(.0))]
    Body(#[source] io::Error),
}

impl Unreachable {
    /// How many further tries make sense. A server that is not there or has the wrong certificate
    /// will hardly change within seconds, while a broken connection means next to nothing.
    pub(super) fn retries_worthwhile(&self) -> u32 {
        match self {
            Unreachable::Connection(error) if is_tls_failure(error) => 0,
            Unreachable::Connection(error) if error.is_connect() => 2,
            _ => u32::MAX,
        }
    }

    /// Whether there may be a server for plain http: nothing there speaks TLS. Whoever does not
    /// answer in time may do so later.
    pub(super) fn may_be_plain(&self) -> bool {
        match self {
            Unreachable::Connection(error) => self.is_plain() || !is_tls_failure(error),
            _ => false,
        }
    }

    /// Whether the server's certificate is signed by an authority that is not trusted.
    pub fn is_untrusted(&self) -> bool {
        let Unreachable::Connection(error) = self else {
            return false;
        };
        matches!(
            tls_failure(error),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer
            ))
        )
    }

    /// Whether what answered does not speak TLS, as a registry that is reached by http alone.
    pub fn is_plain(&self) -> bool {
        let Unreachable::Connection(error) = self else {
            return false;
        };
        matches!(tls_failure(error), Some(rustls::Error::InvalidMessage(_)))
    }
}

fn is_tls_failure(error: &reqwest::Error) -> bool {
    tls_failure(error).is_some()
}

fn tls_failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // What an `io::Error` wraps does not count as its source, only the source of that does.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    wrapped
        .and_then(|inner| tls_failure(inner))
        .or_else(|| error.source().and_then(tls_failure))
}

/// One entry of a registry's error document.
///
/// Source: OCI distribution-spec v1.1, "Error Codes".
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS`, …
    #[serde(default)]
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl ApiError {
    /// Reads the error document of a registry or token server; empty where there is none.
    pub fn parse_all(body: &[u8]) -> Vec<ApiError> {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<ApiError>,
        }
        /// Token servers and front ends put one text under one of these names.
        #[derive(Deserialize)]
        struct Single {
            #[serde(alias = "details", alias = "error_description", alias = "error")]
            message: String,
        }
        if let Ok(envelope) = serde_json::from_slice::<Envelope>(body) {
            return envelope.errors;
        }
        match serde_json::from_slice::<Single>(body) {
            Ok(single) => vec![ApiError {
                code: String::new(),
                message: single.message,
            }],
            Err(_) => Vec::new(),
        }
    }
}

/// What the body of a failed answer says, in one line; empty where it says nothing.
pub(super) fn explain(body: &[u8], secrets: &SentSecrets) -> String {
    let errors = ApiError::parse_all(body);
    if !errors.is_empty() {
        let text = |error: &ApiError| {
            let [message, code] = [&error.message, &error.code].map(|text| secrets.shown(text));
            match (message.as_str(), code.as_str()) {
                ("", _) => code,
                (_, "") => message,
                _ => format!("{message} ({code})"),
            }
        };
        let texts: Vec<String> = errors.iter().take(3).map(text).collect();
        return texts.join(", ");
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if is_web_page(text) {
        return "the answer is a web page, not a registry's".to_string();
    }
    secrets.shown(text.lines().next().unwrap_or_default())
}

/// Whether a text is HTML or XML.
pub(super) fn is_web_page(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('<')
}

/// Takes control characters out of a server's text and shortens it.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .take(SHOWN_MAX_CHARS + 1)
        .collect();
    if let Some((end, _)) = cleaned.char_indices().nth(SHOWN_MAX_CHARS) {
        cleaned.truncate(end);
        cleaned.push('…');
    }
    cleaned.trim().to_string()
}

/// Characters that turn the direction of text or hide in it.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// An address without user, password, query and fragment, which may be secret. It may be long.
pub(super) fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for addresses without a host, which then hold no password either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if shown.query().is_some() {
        shown.set_query(Some("…"));
    }
    shown.to_string().replace("%E2%80%A6", "…")
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

/// The innermost cause; what lies around it repeats the address and says nothing new.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        // Beneath this the resolver speaks of its queries.
        if cause.to_string() == "dns error" {
            return "the name of the host cannot be resolved".to_string();
        }
        cause = source;
    }
    clean(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_failures_make_one_line() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"9"}}]}"#,
                "manifest unknown (MANIFEST_UNKNOWN)",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"message":"go away"}]}"#,
                "DENIED, go away",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (r#"{"error":"unavailable"}"#, "unavailable"),
            (
                "\n<!DOCTYPE html><title>x</title>",
                "the answer is a web page, not a registry's",
            ),
            ("404 page not found\nmore\n", "404 page not found"),
            ("a\u{1b}[31mred\u{7}\tb", "a[31mred b"),
            ("", ""),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#),
        ] {
            let found = explain(body.as_bytes(), &SentSecrets::default());
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let text = clean(&"ä".repeat(1000));
        assert_eq!(text.chars().count(), SHOWN_MAX_CHARS + 1);
        assert!(text.ends_with("ä…"));
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, expected) in [
            ("https://me:pw@h:1/a?sig=secret#f", "https://h:1/a?…"),
            ("https://h/v2/", "https://h/v2/"),
        ] {
            assert_eq!(redact(&Url::parse(url).unwrap()), expected);
        }
    }
}
