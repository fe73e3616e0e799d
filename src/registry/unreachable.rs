//! Why a server could not be reached.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::server_text::clean;

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
