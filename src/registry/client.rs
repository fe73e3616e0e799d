//! The client that callers use, and the way of each request: address, authentication, errors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;
use url::Url;

use crate::oci::RegistryUrl;

use super::auth::{Authenticator, CredentialSource, Scope};
use super::challenge::parse_challenges;
use super::transport::{Request, Response, Transport};
use super::{Proxies, RegistryError, RetryPolicy, TrustedCertificates};

/// Largest answer at the root of a registry's interface, in bytes. Registries send an empty object.
const ROOT_MAX_BYTES: usize = 1 << 20;

/// How to talk to registries.
#[derive(Clone)]
pub struct ClientOptions {
    /// Accept any certificate and redirects to plain http, and use plain http if a registry has no
    /// https.
    pub insecure: bool,
    /// The proxies to use.
    pub proxies: Proxies,
    /// The certificate authorities to trust in addition to the built-in ones.
    pub trusted: TrustedCertificates,
    /// Longest time to establish a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a server.
    pub read_timeout: Duration,
    /// Longest silence of a server that is asked for a blob.
    pub download_timeout: Duration,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How often and after which pauses a failed request is repeated.
    pub retry: RetryPolicy,
    /// Receives a line about each exchange with a server.
    pub trace: Option<Trace>,
}

/// Receives one line about an exchange with a server. The line contains no secrets.
pub type Trace = Arc<dyn Fn(&str) + Send + Sync>;

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            insecure: false,
            proxies: Proxies::default(),
            trusted: TrustedCertificates::default(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            download_timeout: Duration::from_secs(1800),
            user_agent: concat!("udocker/", env!("CARGO_PKG_VERSION")).to_string(),
            retry: RetryPolicy::default(),
            trace: None,
        }
    }
}

/// The answer of a registry to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginCheck {
    /// The registry asked for a login and accepts this one.
    Accepted,
    /// The registry asked for none, so the login remains unchecked.
    NotAsked,
}

/// A client for any number of registries. Threads can share it; clones share all it knows.
#[derive(Clone)]
pub struct Client {
    pub(super) transport: Arc<Transport>,
    auth: Arc<Authenticator>,
    /// The addresses by which registries were reached; filled only with `insecure`.
    bases: Arc<Mutex<HashMap<RegistryUrl, Url>>>,
}

impl Client {
    /// Makes a client. It connects, and reads certificates, at its first request.
    ///
    /// # Errors
    /// A proxy has an address that cannot be used.
    pub fn new(
        options: ClientOptions,
        credentials: impl CredentialSource + 'static,
    ) -> Result<Client, RegistryError> {
        options.proxies.rule()?;
        Ok(Client {
            transport: Arc::new(Transport::new(options)),
            auth: Arc::new(Authenticator::new(credentials)),
            bases: Arc::default(),
        })
    }

    /// Asks the registry whether it accepts the user's login.
    ///
    /// # Errors
    /// `BadCredentials` if it does not, `LoginRequired` if the user has none, `NotARegistry` if a
    /// web page is there; else as for any request.
    pub fn check_auth(&self, registry: &RegistryUrl) -> Result<LoginCheck, RegistryError> {
        let path = |base: &Url| Request::get(endpoint(base, "/v2/"));
        let response = self.send(registry, Scope::Base, &path)?;
        let mut response = self.expect_success(registry, Scope::Base, response)?;
        let body = response.read_all(ROOT_MAX_BYTES)?;
        response.refuse_web_page(None, &body)?;
        Ok(match self.auth.current(registry, Scope::Base) {
            Some(_) => LoginCheck::Accepted,
            None => LoginCheck::NotAsked,
        })
    }

    /// Sends a request with the rights that `scope` names. `prepare` makes the request for the
    /// registry's address.
    ///
    /// # Errors
    /// The connection fails, or the registry's challenge cannot be answered. The caller judges the
    /// status of the answer.
    pub(super) fn send(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
        prepare: &dyn Fn(&Url) -> Request,
    ) -> Result<Response, RegistryError> {
        let mut is_answered = false;
        loop {
            let authorization = self.auth.current(registry, scope);
            let response = self.exchange(registry, &|base| Request {
                authorization: authorization.clone(),
                ..prepare(base)
            })?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            // The challenge comes from another server, to which the registry has redirected the
            // request. Logins are not sent there.
            if !response.is_same_server {
                return Err(response.into_error());
            }
            if is_answered {
                return Err(self.unauthorized(registry, scope, response));
            }
            let offered: Vec<String> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            let challenges = parse_challenges(offered.iter().map(String::as_str));
            if challenges.is_empty() {
                return Err(if offered.is_empty() {
                    self.unauthorized(registry, scope, response)
                } else {
                    RegistryError::UnsupportedChallenge {
                        registry: registry.clone(),
                        offered: response.shown(&offered.join(", ")),
                    }
                });
            }
            self.auth.answer(
                &self.transport,
                registry,
                scope,
                &challenges,
                authorization.as_ref(),
            )?;
            is_answered = true;
        }
    }

    /// Turns an unsuccessful status into an error that names the resource. A refusal counts as the
    /// registry's only if the registry itself sent it, not a server to which it redirected the
    /// request.
    pub(super) fn expect_success(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
        mut response: Response,
    ) -> Result<Response, RegistryError> {
        match response.status() {
            StatusCode::FORBIDDEN if response.is_same_server => {
                // If the login cannot be read, that may be the reason for the refusal.
                let credential = self.auth.credential(registry, scope)?;
                let registry = registry.clone();
                let message = response.explanation();
                // Many registries show their catalogue to nobody.
                Err(if credential.is_none() && scope != Scope::Catalog {
                    RegistryError::LoginRequired {
                        registry,
                        repository: scope.repository().to_string(),
                        message,
                    }
                } else {
                    RegistryError::Denied {
                        registry,
                        what: requested(scope, &response),
                        message,
                    }
                })
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                registry: registry.clone(),
                what: requested(scope, &response),
                message: response.explanation(),
            }),
            _ => response.into_failure(),
        }
    }

    fn unauthorized(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
        mut response: Response,
    ) -> RegistryError {
        let message = response.explanation();
        let credential = match self.auth.credential(registry, scope) {
            Ok(credential) => credential,
            Err(failure) => return failure,
        };
        let registry = registry.clone();
        let Some(found) = credential else {
            return RegistryError::LoginRequired {
                registry,
                repository: scope.repository().to_string(),
                message,
            };
        };
        if self.auth.holds_token(&registry, scope) {
            RegistryError::Denied {
                what: requested(scope, &response),
                registry,
                message,
            }
        } else {
            RegistryError::BadCredentials {
                registry,
                origin: found.origin,
                message,
            }
        }
    }

    /// Sends a request to the registry, just as `prepare` makes it.
    pub(super) fn exchange(
        &self,
        registry: &RegistryUrl,
        prepare: &dyn Fn(&Url) -> Request,
    ) -> Result<Response, RegistryError> {
        self.transport.send(&prepare(&self.base(registry)?))
    }

    /// Returns the registry's address. With `insecure`, https and then plain http are tried before
    /// any secret is sent; the client keeps to the one that works.
    fn base(&self, registry: &RegistryUrl) -> Result<Url, RegistryError> {
        let base = Url::parse(registry.as_str()).map_err(|source| RegistryError::Address {
            registry: registry.clone(),
            source,
        })?;
        if !self.transport.options().insecure || base.scheme() != "https" {
            return Ok(base);
        }
        if let Some(known) = self.known_bases().get(registry) {
            return Ok(known.clone());
        }
        let mut plain = base.clone();
        // Changing https to http never fails.
        let _ = plain.set_scheme("http");
        let ask = |base| {
            self.transport
                .send_once(&Request::get(endpoint(base, "/v2/")))
        };
        let found = match ask(&base) {
            Err(RegistryError::Unreachable { source, .. })
                if source.may_be_plain()
                    && ask(&plain).is_ok_and(|response| is_plain(&response)) =>
            {
                plain
            }
            _ => base,
        };
        self.known_bases().insert(registry.clone(), found.clone());
        Ok(found)
    }

    fn known_bases(&self) -> MutexGuard<'_, HashMap<RegistryUrl, Url>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server of plain http has answered. A TLS server answers plain http with status 400, or
/// redirects to https.
fn is_plain(response: &Response) -> bool {
    response.url.scheme() == "http" && response.status() != StatusCode::BAD_REQUEST
}

/// Returns the address of `path` at a registry, below the registry's own path.
pub(super) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

fn requested(scope: Scope, response: &Response) -> String {
    match scope {
        Scope::Repository(repository) => repository.to_string(),
        Scope::Base | Scope::Catalog => response.shown(response.url.path()),
    }
}
