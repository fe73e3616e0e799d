//! Why a server could not be reached.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::server_text::clean;

/// Why an answer is missing or incomplete.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The server sent nothing for the longest allowed time.
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The server sent almost nothing within the time limit.
    #[error("almost nothing of the answer within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    /// The connection could not be established, or broke.
    #[error("{}", deepest(.0))]
    Connection(#[source] reqwest::Error),
    /// The connection broke while the body was read.
    #[error("{}", deepest(.0))]
    Body(#[source] io::Error),
}

impl Unreachable {
    /// Returns how many retries make sense. A missing server or a wrong certificate rarely changes
    /// within seconds, while a broken connection may work at once.
    pub(super) fn retries_worthwhile(&self) -> u32 {
        match self {
            Unreachable::Connection(error) if is_tls_failure(error) => 0,
            Unreachable::Connection(error) if error.is_connect() => 2,
            _ => u32::MAX,
        }
    }

    /// Whether the server may offer plain http: nothing at the address speaks TLS. After a timeout,
    /// this is unknown.
    pub(super) fn may_be_plain(&self) -> bool {
        match self {
            Unreachable::Connection(error) => self.is_plain() || !is_tls_failure(error),
            _ => false,
        }
    }

    /// Whether the server's certificate is signed by an unknown authority.
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

    /// Whether the server does not speak TLS, like a registry that offers plain http alone.
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
    // `io::Error::source` skips the wrapped error and returns the source of that.
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    wrapped
        .and_then(|inner| tls_failure(inner))
        .or_else(|| error.source().and_then(tls_failure))
}

/// Returns the innermost cause; the outer ones repeat the address and add nothing.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        // The deeper causes are about the resolver's queries.
        if cause.to_string() == "dns error" {
            return "the name of the host cannot be resolved".to_string();
        }
        cause = source;
    }
    clean(&cause.to_string())
}
