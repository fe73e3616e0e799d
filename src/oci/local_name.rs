//! Names of images in the local store.

use std::fmt;

use super::reference::{NAME_MAX_BYTES, is_tag};

/// The name of an image in the local store: `repos/<repository>/<tag>/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalName {
    /// `busybox`, `quay.io/biocontainers/samtools`, `localhost:5000/tool`.
    pub repository: String,
    /// `latest`, or a digest for images pulled by digest.
    pub tag: String,
}

impl LocalName {
    /// Reads a name as udocker.py takes it for images that never came from a registry, such as
    /// `IMPORTED:unknown`: upper case is allowed. `None` if it could leave the store.
    pub fn parse_lenient(text: &str) -> Option<LocalName> {
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (text, "latest"),
        };
        let is_component = |part: &str| {
            part.bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
        };
        let is_name = repository.split('/').all(is_component)
            && is_tag(tag)
            && repository.len() <= NAME_MAX_BYTES;
        is_name.then(|| LocalName {
            repository: repository.to_string(),
            tag: tag.to_string(),
        })
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_udocker_py_takes_are_read_and_none_leaves_the_store() {
        for (text, name) in [
            ("IMPORTED:unknown", Some("IMPORTED:unknown")),
            ("Lab/Tool", Some("Lab/Tool:latest")),
            ("host:5000/x:1", Some("host:5000/x:1")),
            ("../x", None),
            ("a/../b", None),
            ("/a", None),
            ("a:..", None),
            (".hidden", None),
        ] {
            let read = LocalName::parse_lenient(text).map(|name| name.to_string());
            assert_eq!(read.as_deref(), name, "{text}");
        }
    }
}
