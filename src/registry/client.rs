//! The client as callers see it, and the way every request of it takes.

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

/// How to talk to registries.
#[derive(Clone)]
pub struct ClientOptions {
    /// Takes any certificate, lets redirects lead to plain http, and speaks plain http with a
    /// registry that has no https.
    pub insecure: bool,
    /// Which way requests take.
    pub proxies: Proxies,
    /// Whom to trust beside the built-in authorities.
    pub trusted: TrustedCertificates,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long it may be silent while something is expected.
    pub read_timeout: Duration,
    /// How the program introduces itself.
    pub user_agent: String,
    /// How patiently it tries again.
    pub retry: RetryPolicy,
    /// Is told of every exchange with a server.
    pub trace: Option<Trace>,
}

/// Takes one line that tells of an exchange, without secrets.
pub type Trace = Arc<dyn Fn(&str) + Send + Sync>;

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            insecure: false,
            proxies: Proxies::default(),
            trusted: TrustedCertificates::default(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(60),
            user_agent: concat!("udocker/", env!("CARGO_PKG_VERSION")).to_string(),
            retry: RetryPolicy::default(),
            trace: None,
        }
    }
}

/// What a registry says to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginCheck {
    /// It asked for a login and takes this one.
    Accepted,
    /// It did not ask, so it remains unknown whether the login is right.
    NotAsked,
}

/// Talks to any number of registries; shared by threads.
pub struct Client {
    pub(super) transport: Transport,
    auth: Authenticator,
    /// How registries turned out to be reached, under `insecure`.
    bases: Mutex<HashMap<RegistryUrl, Url>>,
}

impl Client {
    /// Makes a client. No connection, and no certificate is read, before the first request.
    ///
    /// # Errors
    /// A proxy that cannot be used.
    pub fn new(
        options: ClientOptions,
        credentials: impl CredentialSource + 'static,
    ) -> Result<Client, RegistryError> {
        options.proxies.rules()?;
        Ok(Client {
            transport: Transport::new(options),
            auth: Authenticator::new(credentials),
            bases: Mutex::default(),
        })
    }

    /// Asks the registry whether it takes the user's login.
    ///
    /// # Errors
    /// `BadCredentials` if it does not, `LoginRequired` if there is none.
    pub fn check_auth(&self, registry: &RegistryUrl) -> Result<LoginCheck, RegistryError> {
        let path = |base: &Url| Request::get(at(base, "/v2/"));
        let response = self.send(registry, Scope::Base, &path)?;
        self.expect_success(registry, Scope::Base, response)?;
        Ok(match self.auth.current(registry, Scope::Base) {
            Some(_) => LoginCheck::Accepted,
            None => LoginCheck::NotAsked,
        })
    }

    /// Sends a request with the rights it takes. `prepare` makes it for the registry's address.
    ///
    /// # Errors
    /// Those of the connection, and a challenge that cannot be met. Any other status is left to
    /// the caller.
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
            // A content store of somebody else has no say in where logins are sent.
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

    /// Turns a status that is no success into an error that tells what was asked for. What another
    /// server refuses, to which the registry has sent us, is not the registry's word.
    pub(super) fn expect_success(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
        mut response: Response,
    ) -> Result<Response, RegistryError> {
        match response.status() {
            StatusCode::FORBIDDEN if response.is_same_server => {
                // A login that cannot be read may be what is missing.
                self.auth.credential(registry, scope)?;
                Err(RegistryError::Denied {
                    registry: registry.clone(),
                    what: what(scope, &response),
                    message: response.explanation(),
                })
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                registry: registry.clone(),
                what: what(scope, &response),
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
        if credential.is_none() {
            RegistryError::LoginRequired {
                registry,
                repository: scope.repository().to_string(),
                message,
            }
        } else if self.auth.holds_token(&registry, scope) {
            RegistryError::Denied {
                what: what(scope, &response),
                registry,
                message,
            }
        } else {
            RegistryError::BadCredentials { registry, message }
        }
    }

    /// Sends a request to the registry as it is prepared.
    pub(super) fn exchange(
        &self,
        registry: &RegistryUrl,
        prepare: &dyn Fn(&Url) -> Request,
    ) -> Result<Response, RegistryError> {
        self.transport.send(&prepare(&self.base(registry)?))
    }

    /// The registry's address. Where `insecure` allows plain http, both ways are tried before
    /// anything is sent that could be a secret; from then on the registry is spoken to in one way.
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
        // Never fails between http and https.
        let _ = plain.set_scheme("http");
        let ask = |base| self.transport.send_once(&Request::get(at(base, "/v2/")));
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

/// Whether an answer came by plain http from a server that speaks it. Servers that speak TLS
/// answer plain http with 400, or lead to https.
fn is_plain(response: &Response) -> bool {
    response.url.scheme() == "http" && response.status() != StatusCode::BAD_REQUEST
}

/// The address of `path` at a registry.
pub(super) fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url
}

fn what(scope: Scope, response: &Response) -> String {
    match scope {
        Scope::Repository(repository) => repository.to_string(),
        Scope::Base | Scope::Catalog => response.shown(response.url.path()),
    }
}
