//! Names of images in the local store.

use std::fmt;

use super::reference::{NAME_MAX_BYTES, is_tag};

/// The name of an image in the local store: `repos/<repository>/<tag>/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalName {
    /// The repository, such as `busybox`, `quay.io/biocontainers/samtools` or
    /// `localhost:5000/tool`.
    pub repository: String,
    /// The tag, or the digest of an image that was pulled by digest.
    pub tag: String,
}

impl LocalName {
    /// Parses a name as udocker.py does for images that come from no registry, such as
    /// `IMPORTED:unknown`: upper case is allowed. `None` if the name could leave the store.
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

    /// All names that a listing shows as this text. udocker.py has fewer rules for names, and takes
    /// ports for tags.
    pub fn listed_as(text: &str) -> Vec<LocalName> {
        text.rmatch_indices(':')
            .map(|(colon, _)| (&text[..colon], &text[colon + 1..]))
            .take_while(|(_, tag)| !tag.contains('/'))
            .filter_map(|(repository, tag)| LocalName::of_directory(&format!("{repository}/{tag}")))
            .collect()
    }

    /// The name under which udocker.py looks for an image: the text after the first colon is the
    /// tag.
    pub fn split_by_udocker_py(text: &str) -> Option<LocalName> {
        let (repository, tag) = text.split_once(':')?;
        LocalName::of_directory(&format!("{repository}/{tag}"))
    }

    /// The name of an image in this directory of `repos`; `None` if the path leaves `repos`, or has
    /// one component only.
    pub(crate) fn of_directory(path: &str) -> Option<LocalName> {
        let is_component = |part: &str| !matches!(part, "" | "." | "..");
        let (repository, tag) = path.rsplit_once('/')?;
        path.split('/').all(is_component).then(|| LocalName {
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
    fn names_that_udocker_py_accepts_are_parsed_and_none_leaves_the_store() {
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

    #[test]
    fn names_from_udocker_py_are_found_as_listed_and_as_typed() {
        let directories = |names: &[LocalName]| {
            let directory = |name: &LocalName| format!("{} {}", name.repository, name.tag);
            names.iter().map(directory).collect::<Vec<_>>()
        };
        for (text, listed, typed) in [
            ("a/b:1", &["a/b 1"][..], Some("a/b 1")),
            ("a:.x", &["a .x"], Some("a .x")),
            ("h/5:x:1", &["h/5:x 1", "h/5 x:1"], Some("h/5 x:1")),
            ("h:5/x:1", &["h:5/x 1"], Some("h/5 x:1")),
            ("a", &[], None),
            ("../a:1", &[], None),
            ("a/./b:1", &[], None),
            ("a:..", &[], None),
            ("a:", &[], None),
            ("/a:1", &[], None),
        ] {
            assert_eq!(directories(&LocalName::listed_as(text)), listed, "{text}");
            let name = LocalName::split_by_udocker_py(text);
            assert_eq!(
                directories(name.as_slice()).first().map(String::as_str),
                typed
            );
        }
    }
}
