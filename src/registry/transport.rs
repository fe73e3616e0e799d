//! HTTP requests: proxies, redirects and retries.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use reqwest::blocking::{Client as HttpClient, Response as HttpResponse};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RANGE,
    TRANSFER_ENCODING,
};
use reqwest::{Method, StatusCode, redirect};
use url::Url;

use super::api_error::explain;
use super::client::ClientOptions;
use super::dns::SystemResolver;
use super::redirect::{self as redirects, Redirect};
use super::retry::{demanded_delay, is_temporary};
use super::secrets::SentSecrets;
use super::server_text::is_web_page;
use super::unreachable::{is_own_timeout, is_refused_by_proxy};
use super::{Proxies, RegistryError, Unreachable, Wait, tls, without_login};

const REDIRECTS_MAX: usize = 10;

/// How much of a failed answer is read for its message, in bytes.
const ERROR_BODY_MAX_BYTES: usize = 64 * 1024;

/// The time limit for a whole document, as a multiple of the longest silence.
const DOCUMENT_TIMEOUTS: u32 = 10;

/// What is requested, which decides how long the server may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A text that the server has or makes at once.
    Document,
    /// A blob. A server that is a cache may fetch all of it from elsewhere before it answers.
    Blob,
}

/// A request.
#[derive(Clone)]
pub(super) struct Request {
    /// The address.
    pub url: Url,
    /// What is requested.
    pub content: Content,
    /// Accepted media types, best first.
    pub accept: Option<String>,
    /// The first byte to send, for a part of a document.
    pub range_from: Option<u64>,
    /// The `Authorization` header. It is never sent to another server.
    pub authorization: Option<HeaderValue>,
    /// Form fields to POST; without them, the request is a GET.
    pub form: Option<Vec<(&'static str, String)>>,
    /// Which statuses are returned at once though they may be temporary, because the caller has
    /// other ways to ask.
    pub is_final: fn(StatusCode) -> bool,
}

impl Request {
    /// Returns a plain GET of a document.
    pub(super) fn get(url: Url) -> Request {
        Request {
            url,
            content: Content::Document,
            accept: None,
            range_from: None,
            authorization: None,
            form: None,
            is_final: |_| false,
        }
    }
}

/// An answer. Its body is read on demand.
pub(super) struct Response {
    /// The address that answered, after redirects.
    pub url: Url,
    /// Whether the server that answered is the one that was asked.
    pub is_same_server: bool,
    content: Content,
    /// The longest silence.
    timeout: Duration,
    secrets: Arc<SentSecrets>,
    inner: HttpResponse,
}

/// Sends requests. The HTTP clients are made at their first use.
pub(super) struct Transport {
    options: ClientOptions,
    secrets: Arc<SentSecrets>,
    documents: Clients,
    blobs: Clients,
    /// The TLS settings with the trusted certificates, which are read once.
    tls: OnceLock<rustls::ClientConfig>,
}

/// The HTTP clients for one kind of content: a client has one time limit.
#[derive(Default)]
struct Clients {
    /// For servers without TLS. This client reads no certificates: reading those of the system
    /// takes longer than a whole exchange with a server nearby.
    plain: OnceLock<HttpClient>,
    /// For all other servers.
    encrypted: OnceLock<HttpClient>,
}

impl Transport {
    pub(super) fn new(options: ClientOptions) -> Transport {
        let secrets = SentSecrets::default();
        for proxy in options.proxies.addresses() {
            secrets.note_login_in(&proxy);
        }
        Transport {
            options,
            secrets: Arc::new(secrets),
            documents: Clients::default(),
            blobs: Clients::default(),
            tls: OnceLock::new(),
        }
    }

    pub(super) fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Returns a server's text for messages.
    pub(super) fn shown(&self, text: &str) -> String {
        self.secrets.shown(text)
    }

    /// Sends `request`, follows redirects and repeats the request after temporary failures. Returns
    /// any other answer, and those that `is_final` names.
    ///
    /// # Errors
    /// The server cannot be reached or keeps failing temporarily until the retry policy gives up,
    /// or a redirect is refused. The caller judges any other status.
    pub(super) fn send(&self, request: &Request) -> Result<Response, RegistryError> {
        let mut retry = 0;
        loop {
            let outcome = self.send_once(request);
            let demanded = match &outcome {
                Ok(response) if (request.is_final)(response.status()) => return outcome,
                Ok(response) if is_temporary(response.status()) => {
                    demanded_delay(response.headers(), SystemTime::now())
                }
                Err(RegistryError::Unreachable { source, .. })
                    if retry < source.retries_worthwhile() =>
                {
                    None
                }
                _ => return outcome,
            };
            let Some(delay) = self.options.retry.delay(retry, demanded) else {
                return outcome?.into_failure();
            };
            thread::sleep(delay);
            retry += 1;
        }
    }

    /// Like [`Transport::send`], without retries.
    pub(super) fn send_once(&self, request: &Request) -> Result<Response, RegistryError> {
        let mut request = request.clone();
        let first_url = request.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let inner = self.exchange(&request)?;
            let Some(location) = location_of(&inner) else {
                return Ok(Response {
                    is_same_server: redirects::is_same_server(&first_url, &request.url),
                    url: request.url,
                    content: request.content,
                    timeout: self.timeout(request.content),
                    secrets: Arc::clone(&self.secrets),
                    inner,
                });
            };
            let refuse = |reason| RegistryError::Redirect {
                url: self.secrets.shown_url(&request.url),
                reason,
            };
            match redirects::decide(&request.url, &location, self.options.insecure) {
                Redirect::Refuse(reason) => return Err(refuse(reason)),
                Redirect::Follow {
                    carries_credentials: false,
                    ..
                } if request.form.is_some() => {
                    return Err(refuse("it would send a login to another server"));
                }
                Redirect::Follow {
                    target,
                    carries_credentials,
                } => {
                    request.url = target;
                    if !carries_credentials {
                        request.authorization = None;
                    }
                }
            }
        }
        Err(RegistryError::Redirect {
            url: self.secrets.shown_url(&first_url),
            reason: "there are too many in a row",
        })
    }

    fn exchange(&self, request: &Request) -> Result<HttpResponse, RegistryError> {
        self.secrets.note(request);
        // The resolver would panic without random numbers.
        if self.resolves_names(&request.url) && getrandom::fill(&mut [0]).is_err() {
            return Err(RegistryError::NoRandomNumbers);
        }
        let method = match request.form {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let mut builder = self
            .http(&request.url, request.content)?
            .request(method.clone(), request.url.clone());
        if let Some(accept) = &request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        if let Some(from) = request.range_from {
            builder = builder.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(authorization) = &request.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(form) = &request.form {
            builder = builder.form(form);
        }
        let proxy = self.options.proxies.for_url(&request.url);
        let answer = builder.send().map_err(|error| {
            if is_refused_by_proxy(&error) {
                Unreachable::ProxyLogin
            } else if !is_own_timeout(&error) {
                Unreachable::Connection(error.without_url())
            } else if error.is_connect() {
                Unreachable::TimedOut(Wait::Connection, self.options.connect_timeout)
            } else {
                Unreachable::TimedOut(request.content.into(), self.timeout(request.content))
            }
        });
        let answer = answer.and_then(|response| match response.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if proxy.is_some() => {
                Err(Unreachable::ProxyLogin)
            }
            _ => Ok(response),
        });
        let shown_url = || self.secrets.shown_url(&request.url);
        if let Some(trace) = &self.options.trace {
            let outcome = match &answer {
                Ok(response) => response.status().to_string(),
                Err(error) => error.to_string(),
            };
            trace(&format!("{method} {}: {outcome}", shown_url()));
        }
        answer.map_err(|source| RegistryError::Unreachable {
            url: shown_url(),
            proxy: proxy.map(without_login),
            source,
        })
    }

    /// Whether a host name has to be resolved: the server's or a proxy's.
    fn resolves_names(&self, url: &Url) -> bool {
        let mut proxies = self.options.proxies.addresses();
        url.domain().is_some() || proxies.any(|proxy| proxy.domain().is_some())
    }

    /// Returns the longest silence of a server.
    fn timeout(&self, content: Content) -> Duration {
        match content {
            Content::Document => self.options.read_timeout,
            Content::Blob => self.options.download_timeout,
        }
    }

    fn http(&self, url: &Url, content: Content) -> Result<&HttpClient, RegistryError> {
        let options = &self.options;
        let clients = match content {
            Content::Document => &self.documents,
            Content::Blob => &self.blobs,
        };
        // The connection to the proxy may need TLS, even if the one to the server does not.
        let is_plain = url.scheme() == "http" && options.proxies.http.is_none();
        let client = if is_plain {
            &clients.plain
        } else {
            &clients.encrypted
        };
        if let Some(http) = client.get() {
            return Ok(http);
        }
        let mut builder = HttpClient::builder()
            .user_agent(&options.user_agent)
            // `send_once` follows redirects, because it knows which credentials may be sent along.
            // The options contain the proxies of the environment.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(SystemResolver::default()))
            .connect_timeout(options.connect_timeout)
            // This limit restarts with each piece of a body, so a large blob may take its time. The
            // library's keepalive notices within a minute that a silent server is gone.
            .timeout(self.timeout(content))
            .tls_backend_preconfigured(if is_plain {
                tls::config(None, options.insecure)?
            } else {
                self.trusting_config()?
            });
        if options.proxies != Proxies::default() {
            builder = builder.proxy(options.proxies.rule()?);
        }
        let http = builder.build().map_err(RegistryError::Setup)?;
        // If two threads send their first requests at once, the second client is dropped.
        Ok(client.get_or_init(|| http))
    }

    fn trusting_config(&self) -> Result<rustls::ClientConfig, RegistryError> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let config = tls::config(Some(&self.options.trusted), self.options.insecure)?;
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

impl Response {
    pub(super) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns a header, if it is present and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Whether nothing but the end of the connection tells where the body ends, so that a broken
    /// connection looks like a complete body.
    pub(super) fn ends_with_connection(&self) -> bool {
        let has = |name| self.headers().contains_key(name);
        !has(CONTENT_LENGTH) && !has(TRANSFER_ENCODING)
    }

    /// Returns the address for messages.
    pub(super) fn shown_url(&self) -> String {
        self.secrets.shown_url(&self.url)
    }

    /// Returns a text of the answer for messages.
    pub(super) fn shown(&self, text: &str) -> String {
        self.secrets.shown(text)
    }

    /// Reads some of the body; 0 means its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Unreachable> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_own_timeout(&error) => {
                    return Err(Unreachable::TimedOut(self.content.into(), self.timeout));
                }
                Err(error) => return Err(Unreachable::Body(error)),
            }
        }
    }

    /// Returns the time limit for a whole document, or for a worthwhile part of a blob. A server
    /// that sends one byte now and then is never silent, so the limit for silence is not enough.
    pub(super) fn time_limit(&self) -> Duration {
        match self.content {
            Content::Document => self.timeout.saturating_mul(DOCUMENT_TIMEOUTS),
            Content::Blob => self.timeout,
        }
    }

    /// Reads the whole body, of at most `limit` bytes.
    pub(super) fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        let mut buffer = [0; 16 * 1024];
        let start = Instant::now();
        loop {
            let read = match self.read(&mut buffer) {
                Ok(1..) if start.elapsed() > self.time_limit() => {
                    Err(Unreachable::TooSlow(self.time_limit()))
                }
                read => read,
            };
            let count = read.map_err(|source| RegistryError::Unreachable {
                url: self.shown_url(),
                proxy: None,
                source,
            })?;
            if count == 0 {
                return Ok(body);
            }
            if body.len() + count > limit {
                return Err(RegistryError::TooLarge {
                    url: self.shown_url(),
                    limit,
                });
            }
            body.extend_from_slice(&buffer[..count]);
        }
    }

    /// Returns what a failed answer says, in one line. Parts that cannot be read are left out.
    pub(super) fn explanation(&mut self) -> String {
        let mut body = Vec::new();
        let mut buffer = [0; 16 * 1024];
        let start = Instant::now();
        while body.len() < ERROR_BODY_MAX_BYTES && start.elapsed() < self.time_limit() {
            match self.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => body.extend_from_slice(&buffer[..count]),
            }
        }
        explain(&body, &self.secrets)
    }

    /// Turns an unsuccessful answer into an error.
    pub(super) fn into_failure(self) -> Result<Response, RegistryError> {
        if self.status().is_success() {
            return Ok(self);
        }
        Err(self.into_error())
    }

    /// Refuses a web page, perhaps with its media type: captive portals and plain web servers send
    /// one with status 200. The beginning of the body is enough.
    pub(super) fn refuse_web_page(
        &self,
        media_type: Option<&str>,
        body: &[u8],
    ) -> Result<(), RegistryError> {
        if !is_web_page(&String::from_utf8_lossy(body)) {
            return Ok(());
        }
        Err(RegistryError::NotARegistry {
            url: self.shown_url(),
            reason: match media_type {
                Some(media_type) => format!("a web page of type '{}'", self.shown(media_type)),
                None => "a web page".to_string(),
            },
        })
    }

    /// Turns an answer into the error for its status.
    pub(super) fn into_error(mut self) -> RegistryError {
        let status = self.status();
        let mut parts = vec![self.explanation()];
        let url = self.shown_url();
        if status == StatusCode::TOO_MANY_REQUESTS {
            parts.extend(self.limits());
        }
        parts.retain(|part| !part.is_empty());
        let message = parts.join(", ");
        if status == StatusCode::TOO_MANY_REQUESTS {
            RegistryError::RateLimited { url, message }
        } else {
            RegistryError::Status {
                url,
                status: status.as_u16(),
                message,
            }
        }
    }

    /// Returns what the headers say about limits, for the message.
    fn limits(&self) -> Vec<String> {
        const SHOWN: [&str; 6] = [
            "ratelimit-limit",
            "ratelimit-remaining",
            "docker-ratelimit-source",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ];
        let mut parts: Vec<String> = SHOWN
            .iter()
            .filter_map(|name| Some(format!("{name} {}", self.shown(self.header(name)?))))
            .collect();
        if let Some(delay) = demanded_delay(self.headers(), SystemTime::now()) {
            parts.push(format!("retry after {} seconds", delay.as_secs()));
        }
        parts
    }
}

fn location_of(response: &HttpResponse) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}
