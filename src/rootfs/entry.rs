//! A tar entry made safe, or refused.
//!
//! Pure: whatever an archive holds, an [`Entry`] names nothing outside the root.

use std::fmt;

use super::tar::{Member, MemberKind, SparseMap, Timestamp};
use super::xattrs::{Xattrs, kept_xattrs};

/// The longest path that is taken: far longer than a system call takes, and short enough to keep
/// many in memory.
const MAX_PATH_BYTES: usize = 64 * 1024;
/// The longest name that Linux file systems take.
const MAX_NAME_BYTES: usize = 255;

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Its name holds `..`, which could lead out of the root.
    #[error("its name holds '..'")]
    Escapes,
    /// It would replace the root by something other than a directory.
    #[error("its name is that of the root, and it is no directory")]
    ReplacesRoot,
    /// Its name holds a NUL byte, which no file name can.
    #[error("its name holds a NUL byte")]
    HoldsNul,
    /// Its path, or a name in it, is too long.
    #[error("its name is too long")]
    TooLong,
    /// It is a whiteout of nothing, of `.` or of `..`.
    #[error("it is a whiteout that names nothing to delete")]
    EmptyWhiteout,
    /// It is below a whiteout.
    #[error("it lies below a whiteout")]
    BelowWhiteout,
    /// It is a link without a target.
    #[error("it is a link to nothing")]
    NoTarget,
}

/// A path relative to the root: without `..`, `.`, empty components, or NULs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Parses the name of a member. Leading slashes stand for the root.
    pub(super) fn new(name: &[u8]) -> Result<EntryPath, EntryError> {
        if name.len() > MAX_PATH_BYTES {
            return Err(EntryError::TooLong);
        }
        if name.contains(&0) {
            return Err(EntryError::HoldsNul);
        }
        let mut path = Vec::with_capacity(name.len());
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(EntryError::Escapes),
                _ if component.len() > MAX_NAME_BYTES => return Err(EntryError::TooLong),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        path.shrink_to_fit();
        Ok(EntryPath(path))
    }

    /// Parses the target of a hard link, in which `..` goes up, but not beyond the root.
    fn of_target(name: &[u8]) -> Result<EntryPath, EntryError> {
        let mut components = Vec::new();
        for component in name.split(|&byte| byte == b'/') {
            if component == b".." {
                components.pop();
            } else {
                components.push(component);
            }
        }
        let path = EntryPath::new(&components.join(&b'/'))?;
        if path.is_root() {
            return Err(EntryError::NoTarget);
        }
        Ok(path)
    }

    /// Whether this is the path of the root.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the directory above, empty for the root, and the name in it.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        }
    }

    /// The whole path.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An entry that can be applied. None of its buffers is larger than its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: EntryPath,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Xattrs,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    /// A regular file.
    File {
        /// The bytes of content in the archive.
        stored: u64,
        sparse: Option<SparseMap>,
    },
    /// The target is relative to the root.
    HardLink {
        target: EntryPath,
    },
    /// The target is not interpreted: only the guest resolves it.
    Symlink {
        target: Vec<u8>,
    },
    Fifo,
    Device,
}

impl Entry {
    /// Makes a member of an archive safe.
    pub(super) fn new(member: Member) -> Result<Entry, EntryError> {
        let path = EntryPath::new(&member.path)?;
        let kind = match member.kind {
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::File { sparse } => EntryKind::File {
                stored: member.stored,
                sparse,
            },
            MemberKind::HardLink { target } => EntryKind::HardLink {
                target: EntryPath::of_target(&target)?,
            },
            MemberKind::Symlink { target } => EntryKind::Symlink {
                target: symlink_target(target)?,
            },
            MemberKind::Fifo => EntryKind::Fifo,
            MemberKind::Device => EntryKind::Device,
        };
        if path.is_root() && kind != EntryKind::Directory {
            return Err(EntryError::ReplacesRoot);
        }
        // The owner has to be able to use and to remove the tree.
        let least = match kind {
            EntryKind::Directory => 0o700,
            _ => 0o600,
        };
        let xattrs = match kind {
            EntryKind::File { .. } | EntryKind::Directory => kept_xattrs(member.xattrs.into_iter()),
            _ => Xattrs::new(),
        };
        Ok(Entry {
            path,
            kind,
            mode: member.mode & 0o7777 | least,
            mtime: member.mtime,
            xattrs,
        })
    }
}

fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, EntryError> {
    match target {
        target if target.is_empty() => Err(EntryError::NoTarget),
        target if target.len() > MAX_PATH_BYTES => Err(EntryError::TooLong),
        target if target.contains(&0) => Err(EntryError::HoldsNul),
        mut target => {
            target.shrink_to_fit();
            Ok(target)
        }
    }
}

/// A name from an archive, displayed so that it can neither break a line nor control the terminal.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownPath(Vec<u8>);

impl From<&[u8]> for ShownPath {
    fn from(path: &[u8]) -> ShownPath {
        ShownPath(path.to_vec())
    }
}

impl fmt::Display for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN: usize = 300;
        let (shown, rest) = match self.0.len() {
            ..=MAX_SHOWN => (&self.0[..], ""),
            _ => (&self.0[..MAX_SHOWN], "…"),
        };
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_str(rest)
    }
}

impl fmt::Debug for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entry_names_are_relative_to_the_root_or_refused() {
        let long_name = "n".repeat(255);
        let too_long_name = "n".repeat(256);
        let too_long_path = "d/".repeat(MAX_PATH_BYTES / 2 + 1);
        for (name, expected) in [
            ("", Ok("")),
            (".", Ok("")),
            ("./", Ok("")),
            ("/", Ok("")),
            ("a", Ok("a")),
            ("./a//b/./c/", Ok("a/b/c")),
            ("///etc/passwd", Ok("etc/passwd")),
            ("..a/...", Ok("..a/...")),
            ("a\nb", Ok("a\nb")),
            (&long_name, Ok(&*long_name)),
            ("..", Err(EntryError::Escapes)),
            ("a/../b", Err(EntryError::Escapes)),
            ("/../etc/passwd", Err(EntryError::Escapes)),
            ("a/..", Err(EntryError::Escapes)),
            ("a\0b", Err(EntryError::HoldsNul)),
            (&too_long_name, Err(EntryError::TooLong)),
            (&too_long_path, Err(EntryError::TooLong)),
        ] {
            let path = EntryPath::new(name.as_bytes());
            assert_eq!(
                path.as_ref().map(|path| path.as_bytes()),
                expected.map(str::as_bytes).as_ref().map(|path| *path),
                "{name:.40}"
            );
        }
    }

    #[test]
    fn hard_link_targets_stay_below_the_root() {
        for (name, expected) in [
            ("a/b", Ok("a/b")),
            ("/a/./b", Ok("a/b")),
            ("a/../b", Ok("b")),
            ("../../etc/passwd", Ok("etc/passwd")),
            ("", Err(EntryError::NoTarget)),
            ("a/..", Err(EntryError::NoTarget)),
            ("a\0", Err(EntryError::HoldsNul)),
        ] {
            let path = EntryPath::of_target(name.as_bytes());
            let expected = expected.map(|path: &str| EntryPath(path.as_bytes().to_vec()));
            assert_eq!(path, expected, "{name}");
        }
    }

    #[test]
    fn buffers_of_an_entry_are_no_larger_than_their_content() {
        let with_room = |text: &[u8]| {
            let mut bytes = Vec::with_capacity(1 << 20);
            bytes.extend_from_slice(text);
            bytes
        };
        let mut xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
        xattrs.extend((0..10_000).map(|_| (b"trusted.a".to_vec(), Vec::new())));
        let entry = |kind| {
            Entry::new(Member {
                path: [&b"./"[..], &b"/".repeat(50_000), b"a"].concat(),
                kind,
                mode: 0,
                mtime: Timestamp {
                    seconds: 0,
                    nanoseconds: 0,
                },
                stored: 0,
                xattrs: xattrs.clone(),
            })
            .unwrap()
        };
        let directory = entry(MemberKind::Directory);
        assert_eq!(directory.path.0.capacity(), 1);
        assert_eq!(directory.xattrs.capacity(), 1);
        let target = with_room(b"target");
        let link = entry(MemberKind::Symlink { target });
        assert!(link.xattrs.is_empty());
        let EntryKind::Symlink { target } = link.kind else {
            panic!("a link");
        };
        assert_eq!(target.capacity(), target.len());
    }

    #[test]
    fn shown_names_hold_no_control_characters() {
        for (name, expected) in [
            (&b"plain/\xc3\xa4"[..], "plain/ä"),
            (b"a\nb\x1b[2J", "a\\nb\\u{1b}[2J"),
            (b"bad\xff\xfe", "bad\\xff\\xfe"),
        ] {
            assert_eq!(ShownPath::from(name).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_entry_path_leaves_the_root(name in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(0), any::<u8>()], 0..40)
        ) {
            if let Ok(path) = EntryPath::new(&name) {
                prop_assert!(!path.as_bytes().starts_with(b"/"));
                prop_assert!(!path.as_bytes().contains(&0));
                for component in path.as_bytes().split(|&byte| byte == b'/') {
                    prop_assert!(component != b".." && component != b".");
                    prop_assert!(path.is_root() || !component.is_empty());
                }
            }
        }
    }
}
