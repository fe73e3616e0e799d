//! Why a server could not be reached.

use std::error::Error;
use std::time::Duration;
use std::{io, iter};

use rustls::CertificateError;

use super::server_text::clean;
use super::transport::Content;

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A connection.
    Connection,
    /// A document, or the rest of it.
    Document,
    /// A blob, or the rest of it.
    Blob,
}

impl From<Content> for Wait {
    fn from(content: Content) -> Wait {
        match content {
            Content::Document => Wait::Document,
            Content::Blob => Wait::Blob,
        }
    }
}

/// Why an answer is missing or incomplete.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The server sent nothing for the longest allowed time.
    #[error("no answer within {} seconds", .1.as_secs())]
    TimedOut(Wait, Duration),
    /// The server sent almost nothing within the time limit.
    #[error("almost nothing of the answer within {} seconds", .0.as_secs())]
    TooSlow(Duration),
    /// The proxy wants a login, or another one.
    #[error("the proxy requires a login")]
    ProxyLogin,
    /// The connection could not be established, or broke.
    #[error("{}", deepest(.0))]
    Connection(#[source] reqwest::Error),
    /// The connection broke while the body was read.
    #[error("{}", deepest(.0))]
    Body(#[source] io::Error),
}

impl Unreachable {
    /// Returns how many retries make sense. A missing server or a wrong certificate rarely changes
    /// within seconds, while a broken connection may work at once. A server that keeps a client
    /// waiting for a blob is there, and the wait was long.
    pub(super) fn retries_worthwhile(&self) -> u32 {
        match self {
            Unreachable::Connection(error) if is_tls_failure(error) => 0,
            Unreachable::Connection(error) if error.is_connect() => 2,
            Unreachable::TimedOut(Wait::Blob, _) | Unreachable::TooSlow(_) => 1,
            Unreachable::ProxyLogin => 0,
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

    /// Whether no connection was established, or the proxy in between let none through.
    pub fn is_of_connecting(&self) -> bool {
        match self {
            Unreachable::ProxyLogin | Unreachable::TimedOut(Wait::Connection, _) => true,
            Unreachable::Connection(error) => error.is_connect(),
            _ => false,
        }
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
    causes(error).find_map(<dyn Error>::downcast_ref)
}

/// Whether a time limit of this program ended a wait. The system's own limit ends a connection
/// whose other end is gone; that connection is broken.
pub(super) fn is_own_timeout(error: &(dyn Error + 'static)) -> bool {
    let is_timeout = |cause: &(dyn Error + 'static)| {
        let error = cause.downcast_ref();
        error.is_some_and(reqwest::Error::is_timeout)
    };
    let is_of_system = |cause: &(dyn Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.raw_os_error().is_some())
    };
    causes(error).any(is_timeout) && !causes(error).any(is_of_system)
}

/// Whether a proxy refused to connect to the server without a login. The library has no type for
/// this error.
pub(super) fn is_refused_by_proxy(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.to_string().contains("proxy authorization required"))
}

/// Returns an error and its causes. `io::Error::source` skips the wrapped error and returns the
/// source of that.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_the_system_ends_is_broken() {
        let gone = || io::Error::from_raw_os_error(rustix::io::Errno::TIMEDOUT.raw_os_error());
        assert!(!is_own_timeout(&gone()));
        assert!(!is_own_timeout(&io::Error::other(gone())));
    }
}
