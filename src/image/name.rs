//! Names that users give to images.

use std::str::FromStr;

use crate::oci::{LocalName, Reference, ReferenceError};

/// Why a text cannot be the name of a new image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NewNameError {
    /// It has a control character, which would break listings and terminals.
    #[error("image name '{0}' holds a control character")]
    Control(String),
    /// It has a digest. Only the digest of a registry's manifest can be part of a name.
    #[error("image name '{0}' holds a digest, which cannot be given to an image")]
    Digest(String),
    /// It is neither a reference nor a name that udocker.py would take.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// A name for an image; the tag may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewName {
    /// The repository, as the store has it.
    pub repository: String,
    /// The tag, if one was given.
    pub tag: Option<String>,
}

impl NewName {
    /// The whole name, with the tag `latest` if none was given.
    pub fn local(&self) -> LocalName {
        LocalName {
            repository: self.repository.clone(),
            tag: self.tag.clone().unwrap_or_else(|| "latest".to_string()),
        }
    }
}

impl FromStr for NewName {
    type Err = NewNameError;

    /// Accepts upper case too, as udocker.py does for images that come from no registry.
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
    fn names_are_split_into_repository_and_tag() {
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
    fn names_that_would_leave_the_store_or_have_a_digest_are_refused() {
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
