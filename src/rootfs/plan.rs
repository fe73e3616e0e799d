//! What an entry means for the tree.
//!
//! Pure: decides from names and types alone.
//!
//! Source: OCI image-spec v1.1, "Image Layer Filesystem Changeset", sections "Changeset over
//! existing files" and "Whiteouts".

use super::entry::{EntryError, EntryKind, EntryPath};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// What applying an entry means, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan<'p> {
    /// Make the entry in its directory.
    Make,
    /// Remove this name from the entry's directory, if it is of a lower layer.
    Whiteout(&'p [u8]),
    /// Remove everything of lower layers from the entry's directory.
    Opaque,
    /// Do nothing: it is bookkeeping of the aufs storage driver, which old images still hold.
    Ignore,
}

/// Decides what applying the entry with the name `path` means.
///
/// # Errors
/// `EmptyWhiteout` for a whiteout of nothing, `.` or `..`; `BelowWhiteout` for an entry in a
/// directory whose name is that of a whiteout.
pub(super) fn plan(path: &EntryPath) -> Result<Plan<'_>, EntryError> {
    let (parent, name) = path.split();
    for component in parent.split(|&byte| byte == b'/') {
        if component.starts_with(WHITEOUT_META_PREFIX) {
            return Ok(Plan::Ignore);
        }
        if component.starts_with(WHITEOUT_PREFIX) {
            return Err(EntryError::BelowWhiteout);
        }
    }
    if name == OPAQUE_NAME {
        return Ok(Plan::Opaque);
    }
    if name.starts_with(WHITEOUT_META_PREFIX) {
        return Ok(Plan::Ignore);
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        Some(b"" | b"." | b"..") => Err(EntryError::EmptyWhiteout),
        Some(removed) => Ok(Plan::Whiteout(removed)),
        None => Ok(Plan::Make),
    }
}

/// What has the name of an entry that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Nothing,
    Directory,
    Symlink,
    Other,
}

/// What happens to the existing file when an entry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing exists.
    Free,
    /// The directory stays with its content; only its metadata changes.
    Keep,
    /// The name is removed.
    Unlink,
    /// The directory is removed with everything in it.
    RemoveTree,
}

/// Decides what happens to the existing file when an entry of `kind` is made. Only a directory
/// keeps an existing directory; anything else replaces the name, and leaves other hard links of the
/// old file alone.
pub(super) fn room_for(kind: &EntryKind, existing: Existing) -> Room {
    match (kind, existing) {
        (_, Existing::Nothing) => Room::Free,
        (EntryKind::Directory, Existing::Directory) => Room::Keep,
        (_, Existing::Directory) => Room::RemoveTree,
        (_, Existing::Symlink | Existing::Other) => Room::Unlink,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_are_recognized_by_name() {
        use EntryError::{BelowWhiteout, EmptyWhiteout};
        for (name, expected) in [
            ("etc/passwd", Ok(Plan::Make)),
            ("", Ok(Plan::Make)),
            ("etc/.whatever", Ok(Plan::Make)),
            ("etc/a.wh.b", Ok(Plan::Make)),
            ("etc/.wh.passwd", Ok(Plan::Whiteout(b"passwd"))),
            (".wh.etc", Ok(Plan::Whiteout(b"etc"))),
            (".wh..hidden", Ok(Plan::Whiteout(b".hidden"))),
            ("etc/.wh..wh..opq", Ok(Plan::Opaque)),
            (".wh..wh..opq", Ok(Plan::Opaque)),
            (".wh..wh.plnk", Ok(Plan::Ignore)),
            (".wh..wh.plnk/12.34", Ok(Plan::Ignore)),
            (".wh..wh.aufs", Ok(Plan::Ignore)),
            (".wh.", Err(EmptyWhiteout)),
            ("etc/.wh..", Err(EmptyWhiteout)),
            ("etc/.wh...", Err(EmptyWhiteout)),
            (".wh.etc/passwd", Err(BelowWhiteout)),
            ("a/.wh.../x", Err(BelowWhiteout)),
        ] {
            let path = EntryPath::new(name.as_bytes()).unwrap();
            assert_eq!(plan(&path), expected, "{name}");
        }
    }

    #[test]
    fn only_a_directory_entry_keeps_a_directory() {
        let file = || EntryKind::File {
            stored: 0,
            sparse: None,
        };
        for (kind, existing, expected) in [
            (file(), Existing::Nothing, Room::Free),
            (file(), Existing::Other, Room::Unlink),
            (file(), Existing::Symlink, Room::Unlink),
            (file(), Existing::Directory, Room::RemoveTree),
            (EntryKind::Directory, Existing::Nothing, Room::Free),
            (EntryKind::Directory, Existing::Directory, Room::Keep),
            (EntryKind::Directory, Existing::Symlink, Room::Unlink),
            (EntryKind::Directory, Existing::Other, Room::Unlink),
            (EntryKind::Fifo, Existing::Directory, Room::RemoveTree),
        ] {
            assert_eq!(room_for(&kind, existing), expected, "{kind:?} {existing:?}");
        }
    }
}
