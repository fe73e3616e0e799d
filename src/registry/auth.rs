//! Answers the authentication challenges of registries, and keeps the answers for later requests.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use url::Url;

use crate::oci::{Credential, FoundCredential, RegistryUrl, Secret};

use super::RegistryError;
use super::challenge::Challenge;
use super::token::Token;
use super::transport::{Request, Response, Transport};

const CLIENT_ID: &str = "udocker";

/// Largest answer of a token server, in bytes. Tokens that list many rights reach ten thousand or
/// so.
const TOKEN_MAX_BYTES: usize = 1 << 20;

/// Why a [`CredentialSource`] failed.
pub type CredentialSourceError = Box<dyn Error + Send + Sync>;

/// Looks up the user's logins. Any function with the signature of `credential` is a source too.
pub trait CredentialSource: Send + Sync {
    /// Returns the login for a repository, or for the whole registry if `repository` is empty;
    /// `None` if the user has no login.
    ///
    /// # Errors
    /// A login may exist, but it cannot be read.
    fn credential(
        &self,
        registry: &RegistryUrl,
        repository: &str,
    ) -> Result<Option<FoundCredential>, CredentialSourceError>;
}

impl<F> CredentialSource for F
where
    F: Fn(&RegistryUrl, &str) -> Result<Option<FoundCredential>, CredentialSourceError>
        + Send
        + Sync,
{
    fn credential(
        &self,
        registry: &RegistryUrl,
        repository: &str,
    ) -> Result<Option<FoundCredential>, CredentialSourceError> {
        self(registry, repository)
    }
}

/// The source of a user who has no logins.
pub struct NoCredentials;

impl CredentialSource for NoCredentials {
    fn credential(
        &self,
        _registry: &RegistryUrl,
        _repository: &str,
    ) -> Result<Option<FoundCredential>, CredentialSourceError> {
        Ok(None)
    }
}

/// The rights that a request needs: the scope of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// The registry itself.
    Base,
    /// Read access to a repository.
    Repository(&'a str),
    /// The list of repositories.
    Catalog,
}

impl<'a> Scope<'a> {
    /// Returns the repository's name; empty for the other scopes.
    pub(super) fn repository(self) -> &'a str {
        match self {
            Scope::Repository(repository) => repository,
            Scope::Base | Scope::Catalog => "",
        }
    }

    /// Returns the scope in the spelling of token servers.
    fn text(self) -> String {
        match self {
            Scope::Base => String::new(),
            Scope::Repository(repository) => format!("repository:{repository}:pull"),
            Scope::Catalog => "registry:catalog:*".to_string(),
        }
    }
}

/// Keeps the grants of registries, one for each registry and scope.
pub(super) struct Authenticator {
    source: Box<dyn CredentialSource>,
    /// The logins already looked up, by registry and repository. Each is looked up once, because a
    /// source may run a program, and one that fails would fail again for every blob.
    logins: Mutex<HashMap<(RegistryUrl, String), Login>>,
    /// The grants by registry and scope.
    grants: Mutex<HashMap<(RegistryUrl, String), SharedGrant>>,
}

/// The answer of a credential source.
type Login = Result<Option<FoundCredential>, Arc<dyn Error + Send + Sync>>;

/// One grant. Its lock is held during the request for the grant, so that one thread sends it.
type SharedGrant = Arc<Mutex<Option<Grant>>>;

enum Grant {
    Basic(HeaderValue),
    Token(Token, HeaderValue),
}

impl Grant {
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Grant::Basic(header) => Some(header),
            Grant::Token(token, header) => token.is_valid(Instant::now()).then_some(header),
        }
    }
}

impl Authenticator {
    pub(super) fn new(source: impl CredentialSource + 'static) -> Authenticator {
        Authenticator {
            source: Box::new(source),
            logins: Mutex::default(),
            grants: Mutex::default(),
        }
    }

    /// Returns the header of a grant that is still valid.
    pub(super) fn current(&self, registry: &RegistryUrl, scope: Scope) -> Option<HeaderValue> {
        let grant = self.grant(registry, scope);
        let grant = lock(&grant);
        grant.as_ref().and_then(Grant::header).cloned()
    }

    /// Whether the registry's last grant was a token.
    pub(super) fn holds_token(&self, registry: &RegistryUrl, scope: Scope) -> bool {
        let grant = self.grant(registry, scope);
        matches!(*lock(&grant), Some(Grant::Token(..)))
    }

    /// Answers `challenges` and keeps the grant. `rejected` is the header that the registry
    /// refused.
    ///
    /// Threads that need the same grant at once wait for the first of them. A login that cannot be
    /// read is an error only if the registry refuses anonymous access, since most images are
    /// public.
    pub(super) fn answer(
        &self,
        transport: &Transport,
        registry: &RegistryUrl,
        scope: Scope,
        challenges: &[Challenge],
        rejected: Option<&HeaderValue>,
    ) -> Result<(), RegistryError> {
        let grant = self.grant(registry, scope);
        let mut grant = lock(&grant);
        let current = grant.as_ref().and_then(Grant::header);
        if current.is_some() && current != rejected {
            // Another thread has renewed the grant meanwhile.
            return Ok(());
        }
        *grant = None;
        let bearer = token_server(transport, registry, scope, challenges)?;
        let credential = self.credential(registry, scope);
        *grant = Some(match (bearer, credential) {
            (Some(server), credential) => {
                let known = credential.as_ref().ok().and_then(Option::as_ref);
                let token = match (server.fetch(transport, known), credential) {
                    (Err(error), Err(failure)) if error.is_rejection() => return Err(failure),
                    (token, _) => token?,
                };
                let header = secret_header(&format!("Bearer {}", token.value.expose()));
                Grant::Token(token, header)
            }
            (None, Err(failure)) => return Err(failure),
            (None, Ok(Some(found))) => Grant::Basic(basic_header(&found.credential)),
            (None, Ok(None)) => {
                return Err(RegistryError::LoginRequired {
                    registry: registry.clone(),
                    repository: scope.repository().to_string(),
                    message: String::new(),
                });
            }
        });
        Ok(())
    }

    /// Returns the user's login for this scope.
    pub(super) fn credential(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
    ) -> Result<Option<FoundCredential>, RegistryError> {
        let repository = scope.repository();
        let key = (registry.clone(), repository.to_string());
        let ask = || self.source.credential(registry, repository);
        let mut logins = lock(&self.logins);
        let login = logins
            .entry(key)
            .or_insert_with(|| ask().map_err(Arc::from));
        login.clone().map_err(|source| RegistryError::Credentials {
            registry: registry.clone(),
            source,
        })
    }

    fn grant(&self, registry: &RegistryUrl, scope: Scope) -> SharedGrant {
        let key = (registry.clone(), scope.text());
        lock(&self.grants).entry(key).or_default().clone()
    }
}

/// Locks a mutex. A panic in another thread leaves at worst an old grant behind, which is renewed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the first token server that can be used; `None` if only Basic can.
///
/// # Errors
/// Nothing that is offered can be used.
fn token_server<'a>(
    transport: &Transport,
    registry: &'a RegistryUrl,
    scope: Scope<'a>,
    challenges: &'a [Challenge],
) -> Result<Option<TokenServer<'a>>, RegistryError> {
    let mut failure = None;
    for challenge in challenges {
        let Challenge::Bearer {
            realm,
            service,
            scope: demanded,
        } = challenge
        else {
            continue;
        };
        match checked_realm(transport, registry, realm) {
            Ok(realm) => {
                return Ok(Some(TokenServer {
                    registry,
                    repository: scope.repository(),
                    realm,
                    service: service.as_deref(),
                    scope: demanded.clone().unwrap_or_else(|| scope.text()),
                }));
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !challenges.contains(&Challenge::Basic) => Err(error),
        _ => Ok(None),
    }
}

/// Checks the address of a token server. A registry may name any server, but an https registry must
/// not name a plain http one, where the login could be read on the way.
fn checked_realm(
    transport: &Transport,
    registry: &RegistryUrl,
    realm: &str,
) -> Result<Url, RegistryError> {
    let refuse = |reason| RegistryError::Realm {
        registry: registry.clone(),
        realm: transport.shown(realm),
        reason,
    };
    let realm = Url::parse(realm).map_err(|_| refuse("it is not an address"))?;
    let is_protected = registry.as_str().starts_with("https:");
    match realm.scheme() {
        "https" => Ok(realm),
        "http" if !is_protected || transport.options().insecure => Ok(realm),
        "http" => Err(refuse("it is not protected by TLS, while the registry is")),
        _ => Err(refuse("it is neither http nor https")),
    }
}

struct TokenServer<'a> {
    registry: &'a RegistryUrl,
    repository: &'a str,
    realm: Url,
    service: Option<&'a str>,
    scope: String,
}

impl TokenServer<'_> {
    fn fetch(
        &self,
        transport: &Transport,
        found: Option<&FoundCredential>,
    ) -> Result<Token, RegistryError> {
        if let Some(found) = found
            && let Credential::IdentityToken(token) = &found.credential
        {
            let mut response = transport.send(&self.refresh_request(token))?;
            match response.status() {
                // Older token servers do not implement the OAuth2 endpoint.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {}
                // The OAuth2 answer to a refresh token that is wrong or has expired.
                StatusCode::BAD_REQUEST => {
                    return Err(RegistryError::BadCredentials {
                        registry: self.registry.clone(),
                        origin: found.origin.clone(),
                        message: response.explanation(),
                    });
                }
                _ => return self.token(response, Some(found)),
            }
        }
        let credential = found.map(|found| &found.credential);
        let response = transport.send(&self.plain_request(credential))?;
        self.token(response, found)
    }

    fn token(
        &self,
        mut response: Response,
        sent: Option<&FoundCredential>,
    ) -> Result<Token, RegistryError> {
        if !response.status().is_success() {
            return Err(self.refusal(response, sent));
        }
        let body = response.read_all(TOKEN_MAX_BYTES)?;
        Token::parse(&body, Instant::now()).map_err(|error| RegistryError::NoToken {
            realm: response.shown_url(),
            reason: error.to_string(),
        })
    }

    fn plain_request(&self, credential: Option<&Credential>) -> Request {
        let mut realm = self.realm.clone();
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scope.split_whitespace() {
                query.append_pair("scope", scope);
            }
            query.append_pair("client_id", CLIENT_ID);
            if let Some(Credential::Basic { username, .. }) = credential {
                query.append_pair("account", username);
            }
        }
        Request {
            authorization: credential.map(basic_header),
            ..Request::get(realm)
        }
    }

    fn refresh_request(&self, token: &Secret) -> Request {
        let mut form = vec![
            ("grant_type", "refresh_token".to_string()),
            ("service", self.service.unwrap_or_default().to_string()),
            ("client_id", CLIENT_ID.to_string()),
            ("refresh_token", token.expose().to_string()),
        ];
        if !self.scope.is_empty() {
            form.push(("scope", self.scope.clone()));
        }
        Request {
            form: Some(form),
            ..Request::get(self.realm.clone())
        }
    }

    fn refusal(&self, mut response: Response, sent: Option<&FoundCredential>) -> RegistryError {
        let registry = self.registry.clone();
        match (response.status(), sent) {
            (StatusCode::UNAUTHORIZED, Some(sent)) => RegistryError::BadCredentials {
                registry,
                origin: sent.origin.clone(),
                message: response.explanation(),
            },
            (StatusCode::FORBIDDEN, Some(_)) => RegistryError::Denied {
                registry,
                what: response.shown(&self.scope),
                message: response.explanation(),
            },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                RegistryError::LoginRequired {
                    registry,
                    repository: self.repository.to_string(),
                    message: response.explanation(),
                }
            }
            _ => response.into_error(),
        }
    }
}

/// Makes a Basic header. An identity token takes the place of the password, with an empty user
/// name, if the registry offers no token server.
fn basic_header(credential: &Credential) -> HeaderValue {
    let (username, password) = match credential {
        Credential::Basic { username, password } => (username.as_str(), password),
        Credential::IdentityToken(token) => ("", token),
    };
    let pair = format!("{username}:{}", password.expose());
    secret_header(&format!("Basic {}", BASE64.encode(pair)))
}

fn secret_header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text)
        .expect("base64 and tokens checked to be graphic ASCII fit into a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_source_is_asked_once_for_each_repository_even_if_it_fails() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let source = move |_: &RegistryUrl, _: &str| {
            count.fetch_add(1, Ordering::Relaxed);
            Err("the vault is locked".into())
        };
        let authenticator = Authenticator::new(source);
        let registry = RegistryUrl::parse("quay.io").unwrap();
        for scope in ["one", "two", "one"].map(Scope::Repository) {
            let error = authenticator.credential(&registry, scope).unwrap_err();
            let expected = "cannot read the credentials for 'https://quay.io': the vault is locked";
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
