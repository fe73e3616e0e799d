//! Lists that come in pages: tags and the catalogue.

use serde::Deserialize;
use url::Url;

use crate::oci::RegistryUrl;

use super::auth::Access;
use super::client::at;
use super::error::{clean, is_web_page};
use super::redirect::is_same_server;
use super::transport::Request;
use super::{Client, RegistryError};

/// Names asked for at once.
const PAGE_NAMES: &str = "1000";

/// Largest page, in bytes.
const PAGE_MAX_BYTES: usize = 16 << 20;

/// After so many names the list ends, whatever the registry says.
const NAMES_MAX: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    /// `null` for a repository without tags.
    #[serde(alias = "repositories")]
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// `NotFound` where there is no such repository; else as any request.
    pub fn tags(
        &self,
        registry: &RegistryUrl,
        repository: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let path = format!("/v2/{repository}/tags/list");
        self.list(registry, Access::Repository(repository), &path)
    }

    /// The names of a registry's repositories, where it tells them.
    ///
    /// # Errors
    /// `NotFound` or `Denied` where it does not; else as any request.
    pub fn catalog(&self, registry: &RegistryUrl) -> Result<Vec<String>, RegistryError> {
        self.list(registry, Access::Catalog, "/v2/_catalog")
    }

    fn list(
        &self,
        registry: &RegistryUrl,
        access: Access,
        path: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let mut names = Vec::new();
        let mut page: Option<Url> = None;
        loop {
            let response = self.send(registry, access, &|base| {
                Request::get(page.clone().unwrap_or_else(|| first_page(base, path)))
            })?;
            let mut response = self.expect_success(registry, access, response)?;
            let body = response.read_all(PAGE_MAX_BYTES)?;
            let found = parse_page(&body).map_err(|reason| RegistryError::NotARegistry {
                url: response.shown_url(),
                reason,
            })?;
            let is_empty = found.is_empty();
            names.extend(found.iter().map(|name| clean(name)));
            let next = response
                .header("link")
                .and_then(next_link)
                .and_then(|link| response.url.join(link).ok())
                // A page elsewhere would get the token that was meant for this registry.
                .filter(|next| is_same_server(&response.url, next));
            // An empty page or a link to itself would go on forever.
            if next.is_none() || is_empty || names.len() >= NAMES_MAX || next == page {
                return Ok(names);
            }
            page = next;
        }
    }
}

fn first_page(base: &Url, path: &str) -> Url {
    let mut url = at(base, path);
    url.query_pairs_mut().append_pair("n", PAGE_NAMES);
    url
}

fn parse_page(body: &[u8]) -> Result<Vec<String>, String> {
    let text = String::from_utf8_lossy(body);
    if is_web_page(&text) {
        return Err("a web page".to_string());
    }
    let page: Page =
        serde_json::from_slice(body).map_err(|error| format!("not a list of names: {error}"))?;
    Ok(page.tags.unwrap_or_default())
}

/// The target of `rel="next"` in a `Link` header.
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
            (r#"{"repositories":["r"]}"#, Some(vec!["r"])),
            ("<html>", None),
            ("[1]", None),
            ("", None),
        ] {
            assert_eq!(
                parse_page(body.as_bytes()).ok(),
                expected.map(|names| names.into_iter().map(str::to_string).collect()),
                "{body}"
            );
        }
    }
}
