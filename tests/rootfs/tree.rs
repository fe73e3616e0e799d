//! Trees as values that can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use udocker::oci::Digest;

use crate::support::xattrs;

/// What a file is, as far as trees are compared.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// Extended attributes that a user can set.
    pub(crate) xattrs: BTreeMap<String, String>,
    /// The first of all names that the file has, to compare which are linked.
    pub(crate) linked_with: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File { size: u64, digest: String },
    Symlink { target: String },
    Fifo,
    Other,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:o} {:?} {:?} as {}",
            self.kind, self.mode, self.mtime, self.xattrs, self.linked_with
        )
    }
}

/// A tree: relative paths, in escaped form, and what they are. The root is `.`.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Reads the tree at `root`.
pub(crate) fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first_names = BTreeMap::new();
    read_into(root, ".", &mut tree, &mut first_names);
    tree
}

fn read_into(path: &Path, name: &str, tree: &mut Tree, first_names: &mut BTreeMap<u64, String>) {
    let stat = fs::symlink_metadata(path).unwrap();
    let file_type = stat.file_type();
    let needed = if file_type.is_dir() { 0o700 } else { 0o600 };
    if !file_type.is_symlink() && stat.mode() & needed != needed {
        // Only now that the mode is known.
        fs::set_permissions(path, fs::Permissions::from_mode(needed)).unwrap();
    }
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).unwrap();
        Kind::Symlink {
            target: target.as_os_str().as_bytes().escape_ascii().to_string(),
        }
    } else if file_type.is_file() {
        let digest = match stat.len() {
            // Large sparse files are told apart by their size.
            100_000_000.. => String::new(),
            _ => Digest::of(&fs::read(path).unwrap()).to_string(),
        };
        Kind::File {
            size: stat.len(),
            digest,
        }
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Other
    };
    // Modes of symbolic links are the same everywhere.
    let mode = if file_type.is_symlink() {
        0o777
    } else {
        stat.mode() & 0o7777
    };
    let first_name = if file_type.is_dir() {
        name
    } else {
        first_names.entry(stat.ino()).or_insert(name.to_string())
    };
    tree.insert(
        name.to_string(),
        Node {
            kind,
            mode,
            mtime: (stat.mtime(), stat.mtime_nsec()),
            xattrs: xattrs::read(path),
            linked_with: first_name.to_string(),
        },
    );
    if file_type.is_dir() {
        let mut children: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|child| child.unwrap().path())
            .collect();
        children.sort();
        for child in children {
            let child_name = child.file_name().unwrap().as_bytes().escape_ascii();
            read_into(&child, &format!("{name}/{child_name}"), tree, first_names);
        }
    }
}

/// Fails with every difference between two trees.
pub(crate) fn assert_same(name: &str, ours: &Tree, expected: &Tree) {
    let mut differences = Vec::new();
    for (path, node) in expected {
        match ours.get(path) {
            Some(found) if found == node => {}
            found => differences.push(format!("{path}: {found:?}, expected {node:?}")),
        }
    }
    for path in ours.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{path}: {:?} is too much", ours[path]));
    }
    assert!(
        differences.is_empty(),
        "{name}:\n{}",
        differences.join("\n")
    );
}
