//! Names for images that come from no registry.

use std::str::FromStr;

use crate::oci::{LocalName, Reference, ReferenceError};

/// Why a text cannot be the name of a new image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NewNameError {
    /// Listings and terminals would trip over it.
    #[error("image name '{0}' holds a control character")]
    Control(String),
    /// Only what comes from a registry is known by its digest.
    #[error("image name '{0}' holds a digest, which cannot be given to an image")]
    Digest(String),
    /// It breaks the rules.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// A name that an image is to get; the tag may be left to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewName {
    /// The repository, as the store has it.
    pub repository: String,
    /// The tag, if one was given.
    pub tag: Option<String>,
}

impl NewName {
    /// The whole name; without a tag it is `latest`.
    pub fn local(&self) -> LocalName {
        LocalName {
            repository: self.repository.clone(),
            tag: self.tag.clone().unwrap_or_else(|| "latest".to_string()),
        }
    }
}

impl FromStr for NewName {
    type Err = NewNameError;

    /// Takes upper case too, as udocker.py does for images that never see a registry.
    fn from_str(text: &str) -> Result<NewName, NewNameError> {
        if text.chars().any(char::is_control) {
            return Err(NewNameError::Control(text.escape_debug().to_string()));
        }
        if text.contains('@') {
            return Err(NewNameError::Digest(text.to_string()));
        }
        let has_tag = text
            .rsplit_once(':')
            .is_some_and(|(_, tag)| !tag.contains('/'));
        let name = match text.parse::<Reference>() {
            Ok(reference) => reference.local_name(),
            Err(error) => LocalName::parse_lenient(text).ok_or(error)?,
        };
        Ok(NewName {
            repository: name.repository,
            tag: has_tag.then_some(name.tag),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_the_store_has_them() {
        for (text, repository, tag) in [
            ("busybox", "busybox", None),
            ("library/busybox", "library/busybox", None),
            (
                "docker.io/library/busybox:1",
                "docker.io/library/busybox",
                Some("1"),
            ),
            ("localhost:5000/x", "localhost:5000/x", None),
            ("localhost:5000/x:y", "localhost:5000/x", Some("y")),
            ("IMPORTED:unknown", "IMPORTED", Some("unknown")),
        ] {
            let name: NewName = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (&name.repository[..], name.tag.as_deref()),
                (repository, tag),
                "{text}"
            );
        }
    }

    #[test]
    fn names_that_would_leave_the_store_or_lie_are_refused() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for text in [
            "",
            "../x",
            "a/../../b",
            "/etc/x",
            "a b",
            "a\u{1b}[31m",
            "a:b/../c",
            "a:..",
            &digest,
            &"a".repeat(300),
            &format!("a:{}", "t".repeat(200)),
        ] {
            assert!(text.parse::<NewName>().is_err(), "{text:?}");
        }
    }
}
