//! Image references as users type them.
//!
//! ```text
//! [https://|http://][HOST[:PORT]/]NAME[:TAG][@DIGEST]
//! ```

use std::fmt;
use std::str::FromStr;

use super::registry_url::{DOCKER_HUB_HOSTS, is_docker_hub_host, is_host, split_scheme};
use super::{Digest, DigestError, LocalName, RegistryUrl};

/// The longest repository name, in bytes.
pub(super) const NAME_MAX_BYTES: usize = 255;
const TAG_MAX_BYTES: usize = 128;

/// Why a text is not an image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The text is empty.
    #[error("the image reference is empty")]
    Empty,
    /// The scheme is neither http nor https.
    #[error("image reference '{0}' has a scheme other than http:// and https://")]
    Scheme(String),
    /// The registry host is not valid.
    #[error("image reference '{text}' names an impossible registry host '{host}'")]
    Host {
        /// The whole text.
        text: String,
        /// The part in question.
        host: String,
    },
    /// The repository name is not valid.
    #[error(
        "image reference '{text}' has an invalid repository name '{name}': lower-case letters, digits and single . _ - between them"
    )]
    Name {
        /// The whole text.
        text: String,
        /// The part in question.
        name: String,
    },
    /// The repository name is too long for a registry or a file system.
    #[error(
        "the repository name in the image reference is longer than {NAME_MAX_BYTES} characters"
    )]
    TooLong,
    /// The tag is not valid.
    #[error("image reference '{text}' has an invalid tag '{tag}'")]
    Tag {
        /// The whole text.
        text: String,
        /// The part in question.
        tag: String,
    },
    /// The digest is not valid.
    #[error("image reference '{text}': {source}")]
    Digest {
        /// The whole text.
        text: String,
        /// The cause.
        source: DigestError,
    },
}

/// Identifies a manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagOrDigest {
    /// A tag, which can be moved to another manifest.
    Tag(String),
    /// The digest of the manifest.
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagOrDigest::Tag(tag) => f.write_str(tag),
            TagOrDigest::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image reference as a user typed it, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    text: String,
    scheme: Option<String>,
    host: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The digest if there is one, else the tag, else `latest`.
    pub fn tag_or_digest(&self) -> TagOrDigest {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => TagOrDigest::Digest(digest.clone()),
            (None, Some(tag)) => TagOrDigest::Tag(tag.clone()),
            (None, None) => TagOrDigest::Tag("latest".to_string()),
        }
    }

    /// The registry in the reference, else `default`.
    pub fn registry(&self, default: &RegistryUrl) -> RegistryUrl {
        match &self.host {
            None => default.clone(),
            Some(host) => RegistryUrl::new(self.scheme.as_deref().unwrap_or("https"), host),
        }
    }

    /// The names of the repository to try at the registry, in order.
    ///
    /// A NAME without a slash means `library/NAME` at Docker Hub. At a default registry that
    /// replaces Docker Hub, such as a mirror, NAME itself is tried first.
    pub fn remote_repositories(&self, default: &RegistryUrl) -> Vec<String> {
        let official = format!("library/{}", self.path);
        if self.path.contains('/') {
            vec![self.path.clone()]
        } else if self.registry(default).is_docker_hub() {
            vec![official]
        } else if self.host.is_none() {
            vec![self.path.clone(), official]
        } else {
            vec![self.path.clone()]
        }
    }

    /// The name this image gets in the local store: the one that was typed, as with udocker.py,
    /// since scripts look for it in listings.
    pub fn local_name(&self) -> LocalName {
        self.local(self.typed_repository())
    }

    fn local(&self, repository: String) -> LocalName {
        LocalName {
            repository,
            tag: self.tag_or_digest().to_string(),
        }
    }

    fn typed_repository(&self) -> String {
        match &self.host {
            None => self.path.clone(),
            Some(host) => format!("{host}/{}", self.path),
        }
    }

    /// The name of an official image of Docker Hub, without `library/`.
    fn official(&self) -> Option<&str> {
        let word = self.path.strip_prefix("library/").unwrap_or(&self.path);
        (self.is_of_docker_hub() && !word.contains('/')).then_some(word)
    }

    /// Whether its host is one of Docker Hub's, or missing.
    fn is_of_docker_hub(&self) -> bool {
        let host = self.host.as_deref();
        host.is_none_or(is_docker_hub_host)
    }

    /// The local names that an image of Docker Hub may have, best first: those without a host, then
    /// those with one of Docker Hub's hosts. None for other registries.
    ///
    /// An image without a host in its name may be from a registry that replaced Docker Hub as the
    /// default, such as a mirror; the store does not record which.
    pub fn docker_hub_aliases(&self) -> Vec<LocalName> {
        if !self.is_of_docker_hub() {
            return Vec::new();
        }
        let paths = match self.official() {
            Some(word) => vec![word.to_string(), format!("library/{word}")],
            None => vec![self.path.clone()],
        };
        let with_hosts = DOCKER_HUB_HOSTS
            .iter()
            .flat_map(|host| paths.iter().map(move |path| format!("{host}/{path}")));
        let repositories = paths.iter().cloned().chain(with_hosts);
        repositories
            .map(|repository| self.local(repository))
            .collect()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (scheme, rest) =
            split_scheme(text).ok_or_else(|| ReferenceError::Scheme(text.to_string()))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    text: text.to_string(),
                    source,
                })?;
                (rest, Some(digest))
            }
            None => split_listed_digest(rest),
        };
        let (host, rest) = match rest.split_once('/') {
            Some((first, path))
                if scheme.is_some()
                    || first.contains(['.', ':'])
                    || first.eq_ignore_ascii_case("localhost") =>
            {
                if !is_host(first) {
                    return Err(ReferenceError::Host {
                        text: text.to_string(),
                        host: first.to_string(),
                    });
                }
                (Some(first.to_ascii_lowercase()), path)
            }
            _ => (None, rest),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if scheme.is_some() && host.is_none() {
            return Err(ReferenceError::Name {
                text: text.to_string(),
                name: String::new(),
            });
        }
        if !path.split('/').all(is_name_component) {
            return Err(ReferenceError::Name {
                text: text.to_string(),
                name: path.to_string(),
            });
        }
        if path.len() + host.as_ref().map_or(0, |host| host.len() + 1) > NAME_MAX_BYTES {
            return Err(ReferenceError::TooLong);
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag {
                text: text.to_string(),
                tag: tag.to_string(),
            });
        }
        Ok(Reference {
            text: text.to_string(),
            scheme: scheme.map(str::to_string),
            host,
            path: path.to_string(),
            tag: tag.map(str::to_string),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits `NAME:sha256:…`, as `images` lists an image that was pulled by digest.
fn split_listed_digest(text: &str) -> (&str, Option<Digest>) {
    let last_two = text.rmatch_indices(':').nth(1);
    let split = last_two.and_then(|(colon, _)| {
        let digest = text[colon + 1..].parse().ok()?;
        Some((&text[..colon], Some(digest)))
    });
    split.unwrap_or((text, None))
}

/// Source: OCI distribution-spec v1.1, "Pulling manifests": the pattern of `<name>`.
fn is_name_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    // Words are separated by ".", "_", "__" or any number of "-".
    bytes
        .split(|b| is_word(*b))
        .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

/// Source: OCI distribution-spec v1.1: the pattern of a tag.
pub(super) fn is_tag(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    bytes.first().is_some_and(|b| is_word(*b))
        && bytes.len() <= TAG_MAX_BYTES
        && bytes
            .iter()
            .all(|b| is_word(*b) || *b == b'.' || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn all_forms_are_parsed() {
        let digest = format!("sha256:{HEX}");
        let hub = "https://registry-1.docker.io";
        // text, registry, remote repository, version, local name
        for (text, registry, remote, tag_or_digest, local) in [
            (
                "busybox",
                hub,
                "library/busybox",
                "latest",
                "busybox:latest",
            ),
            ("lab/tool:1.2", hub, "lab/tool", "1.2", "lab/tool:1.2"),
            (
                "library/debian",
                hub,
                "library/debian",
                "latest",
                "library/debian:latest",
            ),
            (
                "docker.io/busybox:1",
                hub,
                "library/busybox",
                "1",
                "docker.io/busybox:1",
            ),
            (
                "library/a/b",
                hub,
                "library/a/b",
                "latest",
                "library/a/b:latest",
            ),
            (
                "index.docker.io/a/b",
                hub,
                "a/b",
                "latest",
                "index.docker.io/a/b:latest",
            ),
            (
                "quay.io/biocontainers/samtools:1.9--h8571acd_11",
                "https://quay.io",
                "biocontainers/samtools",
                "1.9--h8571acd_11",
                "quay.io/biocontainers/samtools:1.9--h8571acd_11",
            ),
            (
                "localhost/x",
                "https://localhost",
                "x",
                "latest",
                "localhost/x:latest",
            ),
            (
                "localhost:5000/x/y:t",
                "https://localhost:5000",
                "x/y",
                "t",
                "localhost:5000/x/y:t",
            ),
            (
                "http://127.0.0.1:5000/x",
                "http://127.0.0.1:5000",
                "x",
                "latest",
                "127.0.0.1:5000/x:latest",
            ),
            ("https://host/x:1", "https://host", "x", "1", "host/x:1"),
            (
                "[::1]:5000/x",
                "https://[::1]:5000",
                "x",
                "latest",
                "[::1]:5000/x:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let default = RegistryUrl::docker_hub();
            assert_eq!(reference.registry(&default).as_str(), registry, "{text}");
            assert_eq!(reference.remote_repositories(&default), [remote], "{text}");
            assert_eq!(
                reference.tag_or_digest().to_string(),
                tag_or_digest,
                "{text}"
            );
            assert_eq!(reference.local_name().to_string(), local, "{text}");
            assert_eq!(reference.to_string(), text);
        }
        for text in [
            format!("a/b@{digest}"),
            format!("a/b:tag@{digest}"),
            format!("a/b:{digest}"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.tag_or_digest().to_string(), digest);
            assert_eq!(reference.local_name().to_string(), format!("a/b:{digest}"));
        }
    }

    #[test]
    fn replaced_default_registry_gets_the_plain_name_first() {
        let default = RegistryUrl::parse("http://localhost:5000/v2/").unwrap();
        let reference: Reference = "busybox".parse().unwrap();
        assert_eq!(
            reference.registry(&default).as_str(),
            "http://localhost:5000"
        );
        assert_eq!(
            reference.remote_repositories(&default),
            ["busybox", "library/busybox"]
        );
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            ":tag",
            "a:",
            "a@sha256:00",
            "a@",
            "UPPER",
            "a//b",
            "/a",
            "a/",
            "../x",
            "a/../b",
            "a b",
            "a\nb",
            "a:t/../../x",
            "a:..",
            "a:.x",
            "a:-x",
            "a:b:c",
            "a@md5:d41d8cd98f00b204e9800998ecf8427e",
            " ",
            "ä",
            "ftp://host/x",
            "http://x",
            "ho_st..x/y",
            "host:99999/x",
            "host:port/x",
            "a___b",
            "a..b",
            "a._b",
            "-a",
            "a-",
            &"a/".repeat(200),
            &format!("a:{}", "t".repeat(129)),
            &"a".repeat(256),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_images_of_docker_hub_have_aliases() {
        for (text, first, others) in [
            (
                "docker.io/library/busybox:1",
                Some("busybox:1"),
                &["library/busybox:1", "index.docker.io/busybox:1"][..],
            ),
            (
                "library/busybox:1",
                Some("busybox:1"),
                &["docker.io/busybox:1", "docker.io/library/busybox:1"],
            ),
            (
                "busybox:1",
                Some("busybox:1"),
                &["library/busybox:1", "docker.io/library/busybox:1"],
            ),
            (
                "index.docker.io/lab/tool:1",
                Some("lab/tool:1"),
                &["docker.io/lab/tool:1", "registry-1.docker.io/lab/tool:1"],
            ),
            ("quay.io/lab/tool:1", None, &[]),
            ("https://localhost:5000/busybox:1", None, &[]),
        ] {
            let reference: Reference = text.parse().unwrap();
            let aliases = reference.docker_hub_aliases();
            let aliases: Vec<String> = aliases.iter().map(LocalName::to_string).collect();
            assert_eq!(aliases.first().map(String::as_str), first, "{text}");
            for other in others {
                assert!(
                    aliases.iter().any(|name| name == other),
                    "{text}: {aliases:?}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn local_names_never_leave_the_store(text in ".{0,64}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let name = reference.local_name();
                for part in name.repository.split('/').chain([name.tag.as_str()]) {
                    assert!(!part.is_empty() && part != "." && part != ".." && !part.starts_with('.'));
                    assert!(!part.bytes().any(|b| b.is_ascii_control()));
                }
            }
        }
    }
}
