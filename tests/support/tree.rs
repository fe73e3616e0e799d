//! Directory trees as values that can be compared. Owners are left out: all files belong to the
//! caller.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use udocker::oci::Digest;

use super::xattrs;

/// The compared properties of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes that a user can set.
    pub xattrs: BTreeMap<String, String>,
    /// The first of all names of the inode; equal for names that are hard links to each other.
    pub linked_with: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
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
pub type Tree = BTreeMap<String, Node>;

/// Reads the tree at `root`.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first_names = BTreeMap::new();
    read_into(root, ".", &mut tree, &mut first_names);
    tree
}

fn read_into(path: &Path, name: &str, tree: &mut Tree, first_names: &mut BTreeMap<u64, String>) {
    let stat = fs::symlink_metadata(path).unwrap();
    let file_type = stat.file_type();
    let _opened = Opened::new(path, &stat);
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        let target = fs::read_link(path).unwrap();
        Kind::Symlink {
            target: target.as_os_str().as_bytes().escape_ascii().to_string(),
        }
    } else if file_type.is_file() {
        let digest = match stat.len() {
            // Large sparse files are compared by size only.
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

/// Reads the tree with times in whole seconds, as archives keep them.
pub fn read_in_seconds(root: &Path) -> Tree {
    let mut tree = read(root);
    tree.values_mut().for_each(|node| node.mtime.1 = 0);
    tree
}

/// Makes a file or directory readable while this value lives: trees may hold files that their owner
/// may not read.
struct Opened<'a>(Option<(&'a Path, u32)>);

impl<'a> Opened<'a> {
    fn new(path: &'a Path, stat: &fs::Metadata) -> Opened<'a> {
        let needed = if stat.is_dir() { 0o500 } else { 0o400 };
        let mode = stat.mode() & 0o7777;
        if stat.is_symlink() || mode & needed == needed {
            return Opened(None);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode | needed)).unwrap();
        Opened(Some((path, mode)))
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some((path, mode)) = self.0 {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        }
    }
}

/// Fails with every difference between two trees.
#[track_caller]
pub fn assert_same(name: &str, found: &Tree, expected: &Tree) {
    let mut differences = Vec::new();
    for (path, node) in expected {
        match found.get(path) {
            Some(other) if other == node => {}
            other => differences.push(format!("{path}: {other:?}, expected {node:?}")),
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{path}: {:?} is too much", found[path]));
    }
    assert!(
        differences.is_empty(),
        "{name}: {} of {} paths differ:\n{}",
        differences.len(),
        expected.len(),
        differences[..differences.len().min(40)].join("\n")
    );
}
