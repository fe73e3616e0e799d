//! The requests and answers of search services.

use serde::Deserialize;
use serde_json::Number;
use url::Url;

use crate::oci::first;
use crate::registry::server_text::is_invisible;

/// Results requested per page, if the service allows a choice.
const PAGE_RESULTS: &str = "100";

/// Most results of a page; the rest is left out.
const PAGE_RESULTS_MAX: usize = 1000;

/// One repository that was found. Its texts are safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRepository {
    /// The name at the service, without the registry's host.
    pub name: String,
    /// Whether it is one of Docker's official images.
    pub is_official: bool,
    /// The first line of its description.
    pub description: String,
    /// The number of stars; empty if the service does not tell it.
    pub stars: String,
}

/// One page of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) repositories: Vec<FoundRepository>,
    pub(super) has_more: bool,
}

/// A kind of search service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Docker Hub's web interface.
    HubV2,
    /// Docker's first registry interface, which Docker Hub's old index still offers.
    HubV1,
    /// quay.io, and other installations of Quay.
    Quay,
}

impl Service {
    /// Returns the address of page `page`, counted from 1.
    pub(super) fn address(self, base: &Url, term: &str, page: u32) -> Url {
        let mut url = base.clone();
        let path = match self {
            Service::HubV2 => "v2/search/repositories",
            Service::HubV1 => "v1/search",
            Service::Quay => "api/v1/find/repositories",
        };
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        let page = page.to_string();
        let pairs: &[(&str, &str)] = match self {
            Service::HubV2 => &[
                ("query", term),
                ("page_size", PAGE_RESULTS),
                ("page", &page),
            ],
            Service::HubV1 => &[("q", term), ("n", PAGE_RESULTS), ("page", &page)],
            Service::Quay => &[("query", term), ("page", &page)],
        };
        url.query_pairs_mut().extend_pairs(pairs);
        url
    }

    /// Parses a page; `None` if the answer is not one of this service.
    pub(super) fn parse(self, body: &[u8]) -> Option<Page> {
        match self {
            Service::HubV2 => serde_json::from_slice::<HubV2>(body).ok().map(Page::from),
            Service::HubV1 => serde_json::from_slice::<HubV1>(body).ok().map(Page::from),
            Service::Quay => serde_json::from_slice::<Quay>(body).ok().map(Page::from),
        }
    }
}

#[derive(Deserialize)]
struct HubV2 {
    /// Distinguishes this answer from others.
    #[serde(rename = "count")]
    _count: Number,
    next: Option<String>,
    #[serde(deserialize_with = "first::<PAGE_RESULTS_MAX, _, _>")]
    results: Vec<HubResult>,
}

#[derive(Deserialize)]
struct HubV1 {
    page: u64,
    num_pages: u64,
    #[serde(deserialize_with = "first::<PAGE_RESULTS_MAX, _, _>")]
    results: Vec<HubResult>,
}

/// Both versions of the interface use different names for the same fields, and may leave fields
/// out.
#[derive(Deserialize)]
struct HubResult {
    name: Option<String>,
    repo_name: Option<String>,
    description: Option<String>,
    short_description: Option<String>,
    star_count: Option<Number>,
    is_official: Option<bool>,
}

#[derive(Deserialize)]
struct Quay {
    has_additional: bool,
    #[serde(deserialize_with = "first::<PAGE_RESULTS_MAX, _, _>")]
    results: Vec<QuayResult>,
}

#[derive(Deserialize)]
struct QuayResult {
    namespace: QuayNamespace,
    name: String,
    description: Option<String>,
    stars: Option<Number>,
}

#[derive(Deserialize)]
struct QuayNamespace {
    name: String,
}

impl From<HubV2> for Page {
    fn from(answer: HubV2) -> Page {
        Page {
            repositories: answer.results.into_iter().map(HubResult::found).collect(),
            has_more: answer.next.is_some_and(|next| !next.is_empty()),
        }
    }
}

impl From<HubV1> for Page {
    fn from(answer: HubV1) -> Page {
        Page {
            repositories: answer.results.into_iter().map(HubResult::found).collect(),
            has_more: answer.page < answer.num_pages,
        }
    }
}

impl From<Quay> for Page {
    fn from(answer: Quay) -> Page {
        let found = |result: QuayResult| FoundRepository {
            name: plain_line(&format!("{}/{}", result.namespace.name, result.name)),
            is_official: false,
            description: plain_line(&result.description.unwrap_or_default()),
            stars: stars(result.stars),
        };
        Page {
            repositories: answer.results.into_iter().map(found).collect(),
            has_more: answer.has_additional,
        }
    }
}

impl HubResult {
    fn found(self) -> FoundRepository {
        let description = self.description.or(self.short_description);
        FoundRepository {
            name: plain_line(&self.name.or(self.repo_name).unwrap_or_default()),
            is_official: self.is_official.unwrap_or_default(),
            description: plain_line(&description.unwrap_or_default()),
            stars: stars(self.star_count),
        }
    }
}

fn stars(count: Option<Number>) -> String {
    count.map(|count| count.to_string()).unwrap_or_default()
}

/// Returns the first line of an untrusted text, without anything that a terminal would interpret.
pub(super) fn plain_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut plain = String::new();
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\t' => plain.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => plain.push(c),
        }
    }
    plain.trim().to_string()
}

/// Skips the characters that belong to an escape character.
///
/// Source: ECMA-48, 5.3 to 5.6.
fn skip_escape(rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) {
    match rest.next() {
        Some('[') => skip_control_sequence(rest),
        // Strings, such as a window title, end with a bell or with another escape.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(character) = rest.next() {
                if character == '\u{7}' {
                    break;
                }
                if character == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        _ => {}
    }
}

fn skip_control_sequence(rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, official: bool, description: &str, stars: &str) -> FoundRepository {
        FoundRepository {
            name: name.to_string(),
            is_official: official,
            description: description.to_string(),
            stars: stars.to_string(),
        }
    }

    /// Answers as the services give them, shortened.
    #[test]
    fn search_answers_are_parsed() {
        let v2 = r#"{"count": 12, "next": "https://hub.docker.com/v2/search/repositories/?page=2",
            "previous": "", "results": [
            {"repo_name": "alpine", "short_description": "A minimal image", "star_count": 11,
             "pull_count": 9, "repo_owner": "", "is_automated": false, "is_official": true},
            {"repo_name": "a/b", "short_description": null, "star_count": null}]}"#;
        let v1 = r#"{"num_pages": 2, "num_results": 30, "page": 2, "page_size": 25, "query": "x",
            "results": [{"name": "a/b", "description": "one\ntwo", "star_count": 0,
            "is_official": false, "is_automated": true, "is_trusted": true}]}"#;
        let quay = r#"{"results": [{"kind": "repository", "title": "repository",
            "namespace": {"title": "org", "kind": "organization", "name": "biocontainers",
            "score": 1, "href": "/organization/biocontainers"}, "name": "samtools",
            "description": "Tools", "is_public": true, "score": 4.3, "stars": 3,
            "last_modified": null}], "has_additional": true, "page": 1, "page_size": 10,
            "start_index": 0}"#;
        for (service, body, repositories, has_more) in [
            (
                Service::HubV2,
                v2,
                vec![
                    found("alpine", true, "A minimal image", "11"),
                    found("a/b", false, "", ""),
                ],
                true,
            ),
            (
                Service::HubV1,
                v1,
                vec![found("a/b", false, "one", "0")],
                false,
            ),
            (
                Service::Quay,
                quay,
                vec![found("biocontainers/samtools", false, "Tools", "3")],
                true,
            ),
        ] {
            let expected = Page {
                repositories,
                has_more,
            };
            assert_eq!(
                service.parse(body.as_bytes()),
                Some(expected),
                "{service:?}"
            );
            for other in [Service::HubV2, Service::HubV1, Service::Quay] {
                let is_read = other.parse(body.as_bytes()).is_some();
                assert_eq!(is_read, other == service, "{service:?} as {other:?}");
            }
        }
        assert_eq!(Service::HubV2.parse(b"<html>"), None);
    }

    #[test]
    fn search_terms_are_encoded_in_urls() {
        let base = Url::parse("https://h/prefix/").unwrap();
        for (service, expected) in [
            (
                Service::HubV2,
                "https://h/prefix/v2/search/repositories?query=a%2Fb+%26c&page_size=100&page=3",
            ),
            (
                Service::HubV1,
                "https://h/prefix/v1/search?q=a%2Fb+%26c&n=100&page=3",
            ),
            (
                Service::Quay,
                "https://h/prefix/api/v1/find/repositories?query=a%2Fb+%26c&page=3",
            ),
        ] {
            assert_eq!(service.address(&base, "a/b &c", 3).as_str(), expected);
        }
    }

    #[test]
    fn untrusted_text_cannot_control_the_terminal() {
        for (text, expected) in [
            ("plain é", "plain é"),
            ("first\nsecond", "first"),
            ("\r\nfirst\rsecond", "firstsecond"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{9b}2Jx", "x"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]0;title\u{1b}\\x", "x"),
            ("\u{1b}Px", ""),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("a\tb\u{8}\u{0}\u{202e}c", "a bc"),
        ] {
            assert_eq!(plain_line(text), expected, "{text:?}");
        }
    }
}
