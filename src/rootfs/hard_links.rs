//! The files of a tree that have several names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::rc::Rc;

use rustix::fs::Stat;

/// The most memory for paths; names in the same directory count it once. Beyond that, each name is
/// taken for a separate file, so that a hostile tree cannot fill the memory.
const MAX_BYTES: usize = 48 << 20;

/// The memory that a name takes beside its bytes: its entry in a map that may be half empty, and its
/// allocation.
const ENTRY_BYTES: usize = 128;

/// The first path of each file that has several.
#[derive(Default)]
pub(super) struct HardLinks {
    by_id: HashMap<(u64, u64), First>,
    /// The directory of the last path, which the next path often shares.
    directory: Rc<[u8]>,
    bytes: usize,
}

struct First {
    directory: Rc<[u8]>,
    name: Box<[u8]>,
    /// The number of names still to come.
    left: usize,
}

impl HardLinks {
    /// The path under which the file was added, if it was.
    pub(super) fn first_path(&mut self, stat: &Stat) -> Option<Vec<u8>> {
        if !has_several_names(stat) {
            return None;
        }
        let Entry::Occupied(mut known) = self.by_id.entry(id_of(stat)) else {
            return None;
        };
        let first = known.get_mut();
        let path = [&first.directory, &first.name[..]].concat();
        first.left = first.left.saturating_sub(1);
        if first.left == 0 {
            let first = known.remove();
            self.forget(first.directory, bytes_of(&first.name));
        }
        Some(path)
    }

    /// Adds a file that has several names, under its first path.
    pub(super) fn add(&mut self, stat: &Stat, path: &[u8]) {
        if !has_several_names(stat) {
            return;
        }
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let (directory, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
        let is_other = *directory != *self.directory;
        let bytes = bytes_of(name) + if is_other { directory.len() } else { 0 };
        if self.bytes + bytes > MAX_BYTES {
            return;
        }
        if is_other {
            let before = mem::replace(&mut self.directory, directory.into());
            self.forget(before, 0);
        }
        self.bytes += bytes;
        let first = First {
            directory: Rc::clone(&self.directory),
            name: name.into(),
            left: usize::try_from(stat.st_nlink).unwrap_or(usize::MAX) - 1,
        };
        if let Some(before) = self.by_id.insert(id_of(stat), first) {
            self.forget(before.directory, bytes_of(&before.name));
        }
    }

    /// Subtracts the bytes of a name, and those of its directory if no other name is in it.
    fn forget(&mut self, directory: Rc<[u8]>, name_bytes: usize) {
        self.bytes -= name_bytes;
        if Rc::strong_count(&directory) == 1 {
            self.bytes -= directory.len();
        }
    }
}

fn bytes_of(name: &[u8]) -> usize {
    name.len() + ENTRY_BYTES
}

fn has_several_names(stat: &Stat) -> bool {
    stat.st_nlink > 1
}

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, names: u32) -> Stat {
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_ino = inode;
        stat.st_nlink = names.into();
        stat
    }

    #[test]
    fn inode_is_remembered_until_all_its_names_were_seen() {
        let mut links = HardLinks::default();
        let (single, triple) = (file(1, 1), file(2, 3));
        links.add(&single, b"a");
        assert_eq!(links.first_path(&single), None);
        assert_eq!(links.first_path(&triple), None);
        links.add(&triple, b"a/b");
        for _ in 0..2 {
            assert_eq!(links.first_path(&triple).as_deref(), Some(&b"a/b"[..]));
        }
        assert_eq!(links.first_path(&triple), None);
        assert!(links.by_id.is_empty());
    }

    #[test]
    fn paths_take_bounded_memory() {
        let mut links = HardLinks::default();
        let directory = "d/".repeat(4 << 10);
        let known = |links: &mut HardLinks, inode| links.first_path(&file(inode, 9)).is_some();
        // The path of a directory counts once.
        for inode in 0..100_000 {
            links.add(&file(inode, 9), format!("{directory}{inode}").as_bytes());
        }
        assert!(known(&mut links, 99_999));
        for inode in 100_000..110_000 {
            links.add(&file(inode, 9), format!("{directory}{inode}/f").as_bytes());
        }
        assert!(links.bytes <= MAX_BYTES);
        assert!(known(&mut links, 100_000) && !known(&mut links, 109_999));
    }

    #[test]
    fn short_names_take_bounded_memory() {
        let mut links = HardLinks::default();
        for inode in 0..1_000_000 {
            links.add(&file(inode, 2), b"f");
        }
        assert!(links.by_id.len() <= MAX_BYTES / ENTRY_BYTES);
    }

    #[test]
    fn memory_is_freed_when_all_names_have_come() {
        let mut links = HardLinks::default();
        for inode in 0..3 * MAX_BYTES as u64 / 4000 {
            let stat = file(inode, 2);
            let path = [&inode.to_string(), "/", &"d".repeat(4000), "/file"].concat();
            links.add(&stat, path.as_bytes());
            assert_eq!(links.first_path(&stat).as_deref(), Some(path.as_bytes()));
        }
    }
}
