//! Paged lists: tags and the catalogue.

use std::borrow::Cow;
use std::fmt;

use reqwest::header::LINK;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::{Position, Url};

use crate::oci::RegistryUrl;

use super::auth::Scope;
use super::client::endpoint;
use super::redirect::is_same_server;
use super::resolve::{Candidate, first_present};
use super::server_text::{clean, is_web_page};
use super::transport::Request;
use super::{Client, RegistryError};

/// Names requested per page.
const PAGE_NAMES: &str = "1000";

/// Largest page, in bytes.
const PAGE_MAX_BYTES: usize = 16 << 20;

/// Most pages of a list; the rest is left out.
const PAGES_MAX: usize = 5000;

/// Most bytes of names of a list; the rest is left out.
const NAMES_MAX_BYTES: usize = 8 << 20;

/// Which page of a list to request.
#[derive(PartialEq, Eq)]
enum PageAddress {
    /// The first page.
    First,
    /// A path and query of the registry.
    Own(String),
    /// A page of another server, to which the registry has redirected the request. It gets no
    /// login.
    Elsewhere(Url),
}

#[derive(Deserialize)]
struct RawPage {
    /// Registries send `null` for a repository without tags.
    #[serde(alias = "repositories")]
    tags: Option<Names>,
}

/// Names without control characters, in the registry's order.
///
/// They are stored in one text, at the cost of one byte per name. As separate strings, each would
/// cost at least fifty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The names, each followed by a line feed.
    lines: String,
    /// The position of the next name.
    at: usize,
}

impl Names {
    pub(super) fn push(&mut self, name: &str) {
        self.lines.push_str(name);
        self.lines.push('\n');
    }

    fn is_empty(&self) -> bool {
        self.at == self.lines.len()
    }
}

impl Iterator for Names {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let (name, _) = self.lines[self.at..].split_once('\n')?;
        self.at += name.len() + 1;
        Some(name.to_string())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                while let Some(Text(name)) = list.next_element()? {
                    names.push(&clean(&name));
                }
                Ok(names)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl Client {
    /// Returns the tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// `NotFound` if there is no such repository; else as for any request.
    pub fn tags(&self, registry: &RegistryUrl, repository: &str) -> Result<Names, RegistryError> {
        self.tags_of(registry, repository, Candidate::Last)
    }

    /// Returns the tags of the first of `repositories` that exists; none if `repositories` is
    /// empty.
    ///
    /// # Errors
    /// As [`Client::tags`], with the most informative error.
    pub fn find_tags(
        &self,
        registry: &RegistryUrl,
        repositories: &[String],
    ) -> Result<Names, RegistryError> {
        first_present(repositories, |repository, candidate| {
            self.tags_of(registry, repository, candidate)
        })
        .map(|(_, names)| names)
        .or_else(|error| error.map_or(Ok(Names::default()), Err))
    }

    fn tags_of(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        candidate: Candidate,
    ) -> Result<Names, RegistryError> {
        let path = format!("/v2/{repository}/tags/list");
        self.list(registry, Scope::Repository(repository), &path, candidate)
    }

    /// Returns the names of a registry's repositories.
    ///
    /// # Errors
    /// `NotFound` or `Denied` if the registry does not show them; else as for any request.
    pub fn catalog(&self, registry: &RegistryUrl) -> Result<Names, RegistryError> {
        self.list(registry, Scope::Catalog, "/v2/_catalog", Candidate::Last)
    }

    fn list(
        &self,
        registry: &RegistryUrl,
        scope: Scope,
        path: &str,
        candidate: Candidate,
    ) -> Result<Names, RegistryError> {
        let mut names = Names::default();
        let mut page = PageAddress::First;
        for _ in 0..PAGES_MAX {
            let response = match &page {
                PageAddress::First => self.send(registry, scope, &|base| Request {
                    is_final: candidate.final_statuses(),
                    ..Request::get(first_page(base, path))
                })?,
                PageAddress::Own(target) => self.send(registry, scope, &|base| {
                    Request::get(endpoint_with_query(base, target))
                })?,
                PageAddress::Elsewhere(url) => self.transport.send(&Request::get(url.clone()))?,
            };
            let mut response = self.expect_success(registry, scope, response)?;
            let body = response.read_all(PAGE_MAX_BYTES)?;
            let found = parse_page(&body).map_err(|reason| RegistryError::NotARegistry {
                url: response.shown_url(),
                reason: response.shown(&reason),
            })?;
            let is_empty = found.is_empty();
            names.lines.push_str(&found.lines);
            drop(found);
            let is_own = response.is_same_server && !matches!(page, PageAddress::Elsewhere(_));
            let links = response.headers().get_all(LINK).iter();
            let next = links
                .filter_map(|link| link.to_str().ok())
                .find_map(next_link)
                .and_then(|link| following(&response.url, link, is_own));
            // An empty page, or a link to the page itself, would go on for ever.
            match next {
                Some(next) if !is_empty && names.lines.len() < NAMES_MAX_BYTES && next != page => {
                    page = next;
                }
                _ => break,
            }
        }
        Ok(names)
    }
}

/// Returns the address of the page that follows the one at `url`. `is_own` says whether the
/// registry itself sent that one.
///
/// The login is sent to the registry alone, wherever the link leads. A registry behind a proxy that
/// terminates TLS may write `http://` and another port into its links.
fn following(url: &Url, link: &str, is_own: bool) -> Option<PageAddress> {
    let next = url.join(link).ok()?;
    let is_near = is_same_server(url, &next);
    if !is_own {
        return is_near.then_some(PageAddress::Elsewhere(next));
    }
    let is_behind_proxy = next.host_str() == url.host_str() && next.scheme() != url.scheme();
    let target = &next[Position::BeforePath..Position::AfterQuery];
    (is_near || is_behind_proxy).then(|| PageAddress::Own(target.to_string()))
}

/// Returns the address of a path and query at a registry. The path may contain that of the
/// registry, which a registry behind a proxy need not know. `Url::join` would take a path of
/// `//HOST/…` for an address of that host.
fn endpoint_with_query(base: &Url, target: &str) -> Url {
    let (path, query) = target.split_once('?').unzip();
    let path = path.unwrap_or(target);
    let of_registry = base.path().trim_end_matches('/');
    let mut url = endpoint(base, path.strip_prefix(of_registry).unwrap_or(path));
    url.set_query(query);
    url
}

fn first_page(base: &Url, path: &str) -> Url {
    let mut url = endpoint(base, path);
    url.query_pairs_mut().append_pair("n", PAGE_NAMES);
    url
}

fn parse_page(body: &[u8]) -> Result<Names, String> {
    let head = String::from_utf8_lossy(&body[..body.len().min(256)]);
    if is_web_page(&head) {
        return Err("a web page".to_string());
    }
    let page: RawPage =
        serde_json::from_slice(body).map_err(|error| format!("not a list of names: {error}"))?;
    Ok(page.tags.unwrap_or_default())
}

/// Returns the target of `rel="next"` in a `Link` header.
///
/// Source: OCI distribution-spec v1.1, "Listing Tags"; RFC 8288.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, tail) = rest.split_once('<')?;
        let (target, tail) = tail.split_once('>')?;
        let end = tail.find('<').unwrap_or(tail.len());
        let (parameters, following) = tail.split_at(end);
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            })
        });
        if is_next {
            return Some(target);
        }
        rest = following;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (header, expected) in [
            (
                r#"</v2/_catalog?last=a&n=1>; rel="next""#,
                Some("/v2/_catalog?last=a&n=1"),
            ),
            (r"<https://h/x,y;z>;rel=next", Some("https://h/x,y;z")),
            (
                r#"</a>; rel="prev", </b>; title="t"; REL="next""#,
                Some("/b"),
            ),
            (r#"</a>; rel="prev""#, None),
            ("nonsense", None),
            ("<", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }

    #[test]
    fn pages_are_read() {
        for (body, expected) in [
            (r#"{"name":"x","tags":["a","b"]}"#, Some(vec!["a", "b"])),
            (r#"{"name":"x","tags":null}"#, Some(vec![])),
            (
                r#"{"repositories":["r","","a\u000ab\r"]}"#,
                Some(vec!["r", "", "a b"]),
            ),
            ("<html>", None),
            ("[1]", None),
            ("", None),
        ] {
            assert_eq!(
                parse_page(body.as_bytes()).ok().map(Vec::from_iter),
                expected.map(|names| names.into_iter().map(str::to_string).collect()),
                "{body}"
            );
        }
    }
}
