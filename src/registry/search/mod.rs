//! The search for repositories: at Docker Hub, at Quay, and in the catalogue of any other registry.
//!
//! A server does not announce which service it offers. So the services are tried in turn, until one
//! answers in its own format. A search needs no login; the catalogue may need one.

mod answer;

use reqwest::StatusCode;
use url::Url;

use crate::oci::RegistryUrl;

use super::server_text::redact;
use super::transport::Request;
use super::{Client, Names, RegistryError, without_login};

use answer::{Page, Service, plain_line};

pub use answer::FoundRepository;

/// Largest page, in bytes.
const PAGE_MAX_BYTES: usize = 4 << 20;

/// Names of a catalogue per page of results.
const PAGE_NAMES: usize = 100;

/// Most pages of a search; the rest is left out.
const PAGES_MAX: u32 = 100;

/// Where to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchPlace {
    /// A search server for registries, such as Docker Hub's.
    Index(Url),
    /// A registry.
    Registry(RegistryUrl),
}

impl SearchPlace {
    /// Parses the address of an index. The scheme is https by default. A version at the end of the
    /// path is dropped, since each service adds its own.
    ///
    /// # Errors
    /// `Index`, with the text.
    pub fn index(text: &str) -> Result<SearchPlace, RegistryError> {
        let error = |reason: String| RegistryError::Index {
            index: without_login(text),
            reason,
        };
        let full = if text.contains("://") {
            text.to_string()
        } else {
            format!("https://{text}")
        };
        let mut url = Url::parse(&full).map_err(|source| error(source.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(error("its scheme is neither http nor https".to_string()));
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").or(path.strip_suffix("/v2"));
        if let Some(path) = path.map(str::to_string) {
            url.set_path(&path);
        }
        Ok(SearchPlace::Index(url))
    }

    /// Returns the services to try, the likeliest first.
    fn services(&self) -> [Service; 3] {
        match self {
            SearchPlace::Index(_) => [Service::HubV2, Service::HubV1, Service::Quay],
            SearchPlace::Registry(_) => [Service::Quay, Service::HubV2, Service::HubV1],
        }
    }
}

/// The answer to a question in the manner of one service.
enum Answer {
    /// A page of that service.
    Page(Page),
    /// The server does not know the service.
    Unknown,
    /// The server refuses to answer, or something else answers in its place.
    Refusal(RegistryError),
}

/// The results, page by page; each page is requested when it is needed.
pub struct Search<'a> {
    client: &'a Client,
    place: SearchPlace,
    term: String,
    ready: Option<Vec<FoundRepository>>,
    /// The service and number of the next page.
    following: Option<(Service, u32)>,
    /// The names that were found in a catalogue.
    names: Names,
}

impl Client {
    /// Searches for `term`.
    ///
    /// # Errors
    /// `NoSearch` if the server offers no known service and no catalogue, `CatalogLogin` if it
    /// shows the catalogue only after a login, the refusal if an index refuses to be searched; else
    /// as for any request.
    pub fn search(&self, place: SearchPlace, term: &str) -> Result<Search<'_>, RegistryError> {
        let mut search = Search {
            client: self,
            term: term.strip_prefix("library/").unwrap_or(term).to_string(),
            ready: None,
            following: None,
            names: Names::default(),
            place,
        };
        let mut refusal = None;
        for service in search.place.services() {
            match search.ask(service, 1)? {
                Answer::Page(page) => {
                    search.accept(page, service, 1);
                    return Ok(search);
                }
                Answer::Refusal(error) => refusal = refusal.or(Some(error)),
                Answer::Unknown => {}
            }
        }
        // A registry need not know the services, and may refuse what it does not know. An index
        // that refuses what it is for has a reason.
        if let (SearchPlace::Index(_), Some(error)) = (&search.place, refusal) {
            return Err(error);
        }
        search.names = search.look_into_catalog()?;
        Ok(search)
    }
}

impl Search<'_> {
    fn ask(&self, service: Service, page: u32) -> Result<Answer, RegistryError> {
        let prepare = |base: &Url| Request {
            // Some registries fail at unknown addresses. An index is there to be searched, and a
            // later page was announced, so their failures are retried.
            is_final: match (&self.place, page) {
                (SearchPlace::Registry(_), 1) => |status| status.is_server_error(),
                _ => |_| false,
            },
            ..Request::get(service.address(base, &self.term, page))
        };
        let answer = match &self.place {
            SearchPlace::Index(base) => self.client.transport.send(&prepare(base)),
            SearchPlace::Registry(registry) => self.client.exchange(registry, &prepare),
        };
        let mut response = match answer {
            Err(error @ RegistryError::Redirect { .. }) => return Ok(Answer::Refusal(error)),
            answer => answer?,
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Answer::Unknown);
        }
        if !response.status().is_success() {
            return Ok(Answer::Refusal(response.into_error()));
        }
        let body = response.read_all(PAGE_MAX_BYTES)?;
        Ok(match service.parse(&body) {
            Some(page) => Answer::Page(page),
            None => response
                .refuse_web_page(None, &body)
                .map_or_else(Answer::Refusal, |()| Answer::Unknown),
        })
    }

    fn accept(&mut self, page: Page, service: Service, number: u32) {
        // An empty page that announces more would go on for ever.
        let goes_on = page.has_more && !page.repositories.is_empty() && number < PAGES_MAX;
        self.following = goes_on.then_some((service, number + 1));
        self.ready = Some(page.repositories);
    }

    fn look_into_catalog(&self) -> Result<Names, RegistryError> {
        let no_search = |place| RegistryError::NoSearch { place };
        let registry = match &self.place {
            SearchPlace::Index(url) => return Err(no_search(redact(url))),
            SearchPlace::Registry(registry) => registry,
        };
        let names = self.client.catalog(registry).map_err(|error| match error {
            RegistryError::NotFound { .. }
            | RegistryError::Denied { .. }
            | RegistryError::Status { .. }
            | RegistryError::NotARegistry { .. } => no_search(registry.to_string()),
            RegistryError::LoginRequired {
                registry, message, ..
            } => RegistryError::CatalogLogin { registry, message },
            other => other,
        })?;
        let term = self.term.to_lowercase();
        let mut found = Names::default();
        for name in names.filter(|name| name.to_lowercase().contains(&term)) {
            found.push(&name);
        }
        Ok(found)
    }

    fn next_names(&mut self) -> Option<Vec<FoundRepository>> {
        let names = self.names.by_ref().take(PAGE_NAMES);
        let page: Vec<FoundRepository> = names
            .map(|name| FoundRepository {
                name: plain_line(&name),
                ..FoundRepository::default()
            })
            .collect();
        (!page.is_empty()).then_some(page)
    }
}

impl Iterator for Search<'_> {
    type Item = Result<Vec<FoundRepository>, RegistryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_none() {
            let Some((service, number)) = self.following.take() else {
                return self.next_names().map(Ok);
            };
            match self.ask(service, number) {
                Ok(Answer::Page(page)) => self.accept(page, service, number),
                // Some services announce more pages than they have, and refuse the next one.
                Ok(Answer::Refusal(_) | Answer::Unknown) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        self.ready.take().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_in_an_index_is_not_repeated() {
        for text in ["ftp://me:secret@h", "http://me:secret@:x"] {
            let error = SearchPlace::index(text).unwrap_err().to_string();
            assert!(error.contains("://…@"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn index_url_drops_the_api_version() {
        for (text, expected) in [
            ("https://hub.docker.com", Some("https://hub.docker.com/")),
            (
                "https://index.docker.io/v1/",
                Some("https://index.docker.io/"),
            ),
            (
                "hub.example.org:8080/x/v2",
                Some("https://hub.example.org:8080/x"),
            ),
            ("http://127.0.0.1:1", Some("http://127.0.0.1:1/")),
            ("ftp://h", None),
            ("", None),
            ("a b", None),
        ] {
            let place = SearchPlace::index(text).ok();
            let expected = expected.map(|url| SearchPlace::Index(Url::parse(url).unwrap()));
            assert_eq!(place, expected, "{text}");
        }
    }
}
