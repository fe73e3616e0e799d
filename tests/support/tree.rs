//! Directory trees as values that can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use udocker::oci::Digest;

use super::xattrs;

/// What a tree holds at one path. Owners are left out: both sides belong to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is, with the content or the target.
    pub kind: Kind,
    /// Permission bits; those of symbolic links mean nothing and count as 0.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// How many names it has; 1 for directories.
    pub links: u64,
    /// Extended attributes that a user can set.
    pub xattrs: BTreeMap<String, String>,
}

/// The types a tree of an unprivileged user can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like what they are")]
pub enum Kind {
    File { size: u64, content: Digest },
    Directory,
    Link { target: PathBuf },
    Pipe,
    Other,
}

/// Reads the whole tree below `root`; keys are relative to it.
pub fn read(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    visit(root, root, &mut nodes);
    nodes
}

fn visit(root: &Path, path: &Path, nodes: &mut BTreeMap<PathBuf, Node>) {
    let data = fs::symlink_metadata(path).expect("an entry that was just listed");
    let kind = if data.is_dir() {
        let _opened = Opened::new(path, &data, 0o500);
        for entry in fs::read_dir(path).expect("a readable directory") {
            visit(root, &entry.expect("a directory entry").path(), nodes);
        }
        Kind::Directory
    } else if data.is_symlink() {
        Kind::Link {
            target: fs::read_link(path).expect("a link"),
        }
    } else if data.is_file() {
        let _opened = Opened::new(path, &data, 0o400);
        Kind::File {
            size: data.len(),
            content: Digest::of(&fs::read(path).expect("a readable file")),
        }
    } else if data.file_type().is_fifo() {
        Kind::Pipe
    } else {
        Kind::Other
    };
    let node = Node {
        mode: if data.is_symlink() {
            0
        } else {
            data.mode() & 0o7777
        },
        mtime: data.mtime(),
        links: if data.is_dir() { 1 } else { data.nlink() },
        xattrs: xattrs::read(path),
        kind,
    };
    let relative = path.strip_prefix(root).expect("below the root");
    nodes.insert(relative.to_path_buf(), node);
}

/// A path made readable for a moment: umoci keeps files that their owner may not read.
struct Opened<'a>(Option<(&'a Path, u32)>);

impl<'a> Opened<'a> {
    fn new(path: &'a Path, data: &fs::Metadata, needed: u32) -> Opened<'a> {
        let mode = data.mode() & 0o7777;
        if mode & needed == needed {
            return Opened(None);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode | needed)).expect("our own file");
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

/// Says where two trees differ, one line for each path; empty when they are equal.
pub fn differences(
    expected: &BTreeMap<PathBuf, Node>,
    found: &BTreeMap<PathBuf, Node>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, node) in expected {
        match found.get(path) {
            None => lines.push(format!("{}: missing; expected {node:?}", path.display())),
            Some(other) if other != node => {
                lines.push(format!(
                    "{}:\n  expected {node:?}\n  found    {other:?}",
                    path.display()
                ));
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().filter(|path| !expected.contains_key(*path));
    lines.extend(extra.map(|path| format!("{}: should not be there", path.display())));
    lines
}
