//! The files and links of an archive, by path.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::error::ArchiveError;
use crate::host::fs::read_limited;
use crate::oci::{Digest, MANIFEST_MAX_BYTES};

/// The most members an archive may have; images have a few per layer.
const MEMBERS_MAX: usize = 1 << 16;

/// The most bytes that the names of members and the targets of links may have together.
const NAMES_MAX_BYTES: usize = 16 << 20;

/// How many links are followed one after the other.
const HOPS_MAX: usize = 16;

/// A file of an archive, copied to a file of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its path in the archive. Any number of layers may be the same file.
    pub name: Arc<str>,
    /// The path of the copy.
    pub path: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// All members of an archive that can be part of an image.
#[derive(Debug, Default)]
pub struct Contents {
    members: BTreeMap<String, Member>,
    name_bytes: usize,
}

#[derive(Debug)]
enum Member {
    File(Part),
    /// A link, symbolic or hard, to another path in the archive; `None` if it leads out of it.
    Link(Option<String>),
}

impl Contents {
    /// Adds a file. As with `tar`, the last file of a name replaces the others.
    pub(super) fn add_file(&mut self, part: Part) -> Result<(), ArchiveError> {
        self.add(part.name.to_string(), Member::File(part))
    }

    /// Adds a symbolic link, whose target is relative to its directory.
    pub(super) fn add_symlink(&mut self, path: String, target: &str) -> Result<(), ArchiveError> {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        // An absolute target would be a file of the host.
        let target = (!target.starts_with('/'))
            .then(|| inside(&format!("{directory}/{target}")))
            .flatten();
        self.add(path, Member::Link(target))
    }

    /// Adds a hard link, whose target is relative to the top of the archive.
    pub(super) fn add_hard_link(&mut self, path: String, target: &str) -> Result<(), ArchiveError> {
        self.add(path, Member::Link(inside(target)))
    }

    fn add(&mut self, path: String, member: Member) -> Result<(), ArchiveError> {
        let target_bytes = match &member {
            Member::Link(target) => target.as_ref().map_or(0, String::len),
            Member::File(part) => part.name.len(),
        };
        self.name_bytes += path.len() + target_bytes;
        if self.name_bytes > NAMES_MAX_BYTES {
            return Err(ArchiveError::TooMuch(NAMES_MAX_BYTES, "bytes of names"));
        }
        self.members.insert(path, member);
        if self.members.len() > MEMBERS_MAX {
            return Err(ArchiveError::TooMuch(MEMBERS_MAX, "members"));
        }
        Ok(())
    }

    /// Whether there is a file or link at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.members.contains_key(path)
    }

    /// Finds a file, through links, and compares its digest with those in its path and in the paths
    /// of the links.
    pub(super) fn part(&self, path: &str) -> Result<&Part, ArchiveError> {
        let shown = || path.escape_debug().to_string();
        let mut current = inside(path).ok_or_else(|| ArchiveError::Escapes(shown()))?;
        let mut expected = Vec::new();
        for _ in 0..HOPS_MAX {
            expected.extend(digest_in_path(&current));
            match self.members.get(&current) {
                None => return Err(ArchiveError::Missing(shown())),
                Some(Member::Link(None)) => break,
                Some(Member::Link(Some(target))) => current.clone_from(target),
                Some(Member::File(part)) => {
                    let is_right = expected.iter().all(|digest| *digest == part.digest);
                    return is_right
                        .then_some(part)
                        .ok_or_else(|| ArchiveError::WrongDigest {
                            path: shown(),
                            found: part.digest.clone(),
                        });
                }
            }
        }
        Err(ArchiveError::BadLink(shown()))
    }

    /// Reads a document into memory.
    pub(super) fn bytes(&self, path: &str) -> Result<Vec<u8>, ArchiveError> {
        let part = self.part(path)?;
        let limit = MANIFEST_MAX_BYTES as u64;
        if part.size > limit {
            return Err(ArchiveError::TooLarge {
                path: path.escape_debug().to_string(),
                limit,
            });
        }
        Ok(read_limited(&part.path, limit)?)
    }

    /// Reads a JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ArchiveError> {
        serde_json::from_slice(&self.bytes(path)?).map_err(ArchiveError::invalid(path))
    }
}

/// The path without `.`, `..` and empty components; `None` if it leads out of the archive. A
/// leading slash is the top of the archive.
pub(super) fn inside(path: &str) -> Option<String> {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop()?;
            }
            _ => components.push(component),
        }
    }
    Some(components.join("/"))
}

/// The digest in a path: that of `blobs/sha256/<hex>`, or of `<hex>.json` at the top.
pub(super) fn digest_in_path(path: &str) -> Option<Digest> {
    let components: Vec<&str> = path.split('/').collect();
    match components[..] {
        ["blobs", algorithm, hex] => format!("{algorithm}:{hex}").parse().ok(),
        [name] => format!("sha256:{}", name.strip_suffix(".json")?)
            .parse()
            .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [
            ("a/b", Some("a/b")),
            ("./a//b/.", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", Some("b")),
            ("..", None),
            ("a/../../b", None),
            ("", Some("")),
        ] {
            assert_eq!(inside(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn digests_are_read_from_paths() {
        let hex = Digest::of(b"").hex().to_string();
        for (path, has_digest) in [
            (format!("blobs/sha256/{hex}"), true),
            (format!("{hex}.json"), true),
            (format!("{hex}/layer.tar"), false),
            (format!("x/{hex}.json"), false),
            ("blobs/sha256/x".to_string(), false),
            ("manifest.json".to_string(), false),
        ] {
            assert_eq!(digest_in_path(&path).is_some(), has_digest, "{path}");
        }
    }

    #[test]
    fn links_are_followed_within_the_archive_only() {
        let part = Part {
            name: "a/layer.tar".into(),
            path: PathBuf::new(),
            digest: Digest::of(b""),
            size: 0,
        };
        let mut contents = Contents::default();
        contents.add_file(part.clone()).unwrap();
        for (path, target) in [
            ("b/layer.tar", "../a/layer.tar"),
            ("c/layer.tar", "../b/layer.tar"),
            ("out", "../etc/passwd"),
            ("absolute", "/a/layer.tar"),
            ("round", "round"),
            ("dangling", "nothing"),
        ] {
            contents.add_symlink(path.to_string(), target).unwrap();
        }
        let [right, wrong] = [b"".as_slice(), b"other"]
            .map(|bytes| format!("blobs/sha256/{}", Digest::of(bytes).hex()));
        for link in ["d", &right, &wrong] {
            contents
                .add_hard_link(link.to_string(), "./c/layer.tar")
                .unwrap();
        }
        contents.add_symlink("e".to_string(), &wrong).unwrap();
        for path in ["a/layer.tar", "b/layer.tar", "./c/layer.tar", "d", &right] {
            assert_eq!(contents.part(path).unwrap(), &part, "{path}");
        }
        for (path, expected) in [
            ("out", "leads nowhere"),
            ("absolute", "leads nowhere"),
            ("round", "leads nowhere"),
            ("dangling", "lacks 'dangling'"),
            (&wrong, "digest"),
            ("e", "digest"),
            ("../a/layer.tar", "leads out"),
        ] {
            let error = contents.part(path).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
