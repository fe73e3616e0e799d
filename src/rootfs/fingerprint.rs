//! Fingerprints, which tell later whether the files of a tree are unchanged.
//!
//! Every change of a file's content, attributes or names sets its ctime, which no process can
//! choose. So a file with the same path, inode and ctime is unchanged. A directory's ctime is also
//! set when something is made in it; therefore the fingerprint holds its mode and mtime.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Stat};
use rustix::process::{getegid, geteuid};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir_stack::open_top;
use super::error::{Failure, RootfsError};
use super::tar::Timestamp;
use super::walk::{Found, Visitor, walk};
use super::xattrs::xattrs_of;
use crate::host::fs::FsError;

/// The most files in a fingerprint, which takes memory for each.
const MAX_ENTRIES: usize = 500_000;

/// How many ticks to wait for the clock of file times to advance: it does so every 10 ms at the
/// latest, where the kernel ticks a hundred times a second.
const TICKS: u32 = 20;
const TICK: Duration = Duration::from_millis(1);

/// The fingerprint of a tree.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFingerprint {
    /// All but directories.
    files: BTreeMap<PathKey, FileFingerprint>,
    directories: BTreeMap<PathKey, DirectoryFingerprint>,
}

/// Inode, ctime in nanoseconds, and size.
type FileFingerprint = (u64, i64, i64);

/// The attributes of a directory when the fingerprint was taken.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DirectoryFingerprint {
    inode: u64,
    /// The ctime in nanoseconds.
    changed: i64,
    mode: u32,
    /// The mtime in seconds and nanoseconds.
    modified: (i64, i64),
    has_xattrs: bool,
}

/// The first 64 bits of the SHA-256 of a path from the top. Paths may be long, and not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PathKey(u64);

impl PathKey {
    fn of(path: &[u8]) -> PathKey {
        let digest = Sha256::digest(path);
        let (beginning, _) = digest.split_at(8);
        PathKey(
            beginning
                .iter()
                .fold(0, |key, byte| key << 8 | u64::from(*byte)),
        )
    }
}

impl TreeFingerprint {
    /// Takes the fingerprint of a tree that was just made, and that no process changes meanwhile.
    /// `None` if the tree is too large, or its times are too coarse to show every change.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn take(root: &Path) -> Result<Option<TreeFingerprint>, RootfsError> {
        let top = open_top(root)?;
        let at_top = |error| FsError::at("examine", root)(io::Error::from(error));
        let stat = rustix::fs::fstat(&top).map_err(at_top)?;
        let mut taker = Taker::default();
        taker.directory(b"", &stat, top.as_fd());
        match walk(top, &mut taker) {
            Ok(()) => {}
            Err(Stop::TooLarge) => return Ok(None),
            Err(Stop::Failure(failure)) => return Err(failure.below(root)),
        }
        let fingerprint = taker.fingerprint;
        Ok(fingerprint.is_settled().then_some(fingerprint))
    }

    /// Whether every later change will show. Waits until the clock has passed the latest ctime, so
    /// that no change can get that ctime again.
    fn is_settled(&self) -> bool {
        let of_directories = self.directories.values().map(|one| one.changed);
        let of_files = self.files.values().map(|(_, changed, _)| *changed);
        let times = || of_directories.clone().chain(of_files.clone());
        // The file system has whole seconds only.
        if times().all(|time| time % NANOSECONDS == 0) {
            return false;
        }
        let latest = times().max().unwrap_or(i64::MAX);
        (0..TICKS).any(|_| {
            let now = clock_gettime(ClockId::RealtimeCoarse);
            let has_passed = now.tv_sec.saturating_mul(NANOSECONDS) + now.tv_nsec > latest;
            if !has_passed {
                std::thread::sleep(TICK);
            }
            has_passed
        })
    }

    /// Whether the tree at `root` still has every file, unchanged; there may be more files.
    pub fn fits(&self, root: &Path) -> bool {
        let Ok(top) = open_top(root) else {
            return false;
        };
        let mut check = Check::of(self);
        check.top(top.as_fd()).is_ok() && walk(top, &mut check).is_ok() && check.is_complete()
    }
}

/// The mode bits that every unpacked directory has.
const OPEN_TO_OWNER: u32 = 0o500;

const NANOSECONDS: i64 = 1_000_000_000;

/// The ctime in nanoseconds since 1970.
fn changed_at(stat: &Stat) -> i64 {
    let nanoseconds = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
    stat.st_ctime.saturating_mul(NANOSECONDS) + nanoseconds
}

fn file_fingerprint(stat: &Stat) -> FileFingerprint {
    (stat.st_ino, changed_at(stat), stat.st_size)
}

/// Whether both are of the same file, and it did not change in between.
pub(super) fn is_unchanged(before: &Stat, after: &Stat) -> bool {
    before.st_dev == after.st_dev && file_fingerprint(before) == file_fingerprint(after)
}

/// The error for a file that has changed since its fingerprint was taken.
pub(super) fn has_changed() -> io::Error {
    io::Error::other("it has changed")
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[derive(Default)]
struct Taker {
    fingerprint: TreeFingerprint,
}

enum Stop {
    Failure(Failure),
    TooLarge,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl Taker {
    fn directory(&mut self, path: &[u8], stat: &Stat, directory: BorrowedFd<'_>) {
        let mtime = Timestamp::from(stat);
        let was = DirectoryFingerprint {
            inode: stat.st_ino,
            changed: changed_at(stat),
            mode: stat.st_mode,
            modified: (mtime.seconds, mtime.nanoseconds),
            has_xattrs: !xattrs_of(directory).is_empty(),
        };
        self.fingerprint.directories.insert(PathKey::of(path), was);
    }

    fn limit(&self) -> Result<(), Stop> {
        if self.fingerprint.files.len() + self.fingerprint.directories.len() > MAX_ENTRIES {
            Err(Stop::TooLarge)
        } else {
            Ok(())
        }
    }
}

impl Visitor for Taker {
    type Error = Stop;

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Stop> {
        self.directory(found.path, &found.stat, directory);
        self.limit()
    }

    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Stop> {
        let was = file_fingerprint(&found.stat);
        self.fingerprint.files.insert(PathKey::of(found.path), was);
        self.limit()
    }

    fn leave(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

/// Compares a tree with its fingerprint during a walk.
pub(super) struct Check<'i> {
    fingerprint: &'i TreeFingerprint,
    files: usize,
    directories: usize,
}

impl<'i> Check<'i> {
    pub(super) fn of(fingerprint: &'i TreeFingerprint) -> Check<'i> {
        Check {
            fingerprint,
            files: 0,
            directories: 0,
        }
    }

    /// Whether a file is in the fingerprint.
    ///
    /// # Errors
    /// The file is in the fingerprint, and has changed.
    pub(super) fn knows(&mut self, found: &Found<'_>) -> Result<bool, Failure> {
        let stat = &found.stat;
        if is_directory(stat) {
            let path = PathKey::of(found.path);
            let is_known = self.fingerprint.directories.contains_key(&path);
            // The user did not ask for this container, so modes in it are not changed for a copy.
            if is_known && stat.st_mode & OPEN_TO_OWNER != OPEN_TO_OWNER {
                return Err(Failure::at("open", found.path)(has_changed()));
            }
            return Ok(is_known);
        }
        let Some(&was) = self.fingerprint.files.get(&PathKey::of(found.path)) else {
            return Ok(false);
        };
        if was != file_fingerprint(stat) {
            return Err(Failure::at("copy", found.path)(has_changed()));
        }
        self.files += 1;
        Ok(true)
    }

    /// Returns the original attributes of the directory at `path`, whose attributes now are `stat`.
    ///
    /// # Errors
    /// It has changed in a way that cannot be undone in a copy.
    pub(super) fn directory(
        &mut self,
        path: &[u8],
        stat: &Stat,
        directory: BorrowedFd<'_>,
    ) -> Result<Stat, Failure> {
        let changed = || Failure::at("copy", path)(has_changed());
        let was = self.fingerprint.directories.get(&PathKey::of(path));
        let was = was.ok_or_else(changed)?;
        // The fingerprint does not hold the extended attributes themselves.
        let has_xattrs = || was.has_xattrs || !xattrs_of(directory).is_empty();
        let is_other = was.inode != stat.st_ino;
        if is_other || was.changed != changed_at(stat) && has_xattrs() {
            return Err(changed());
        }
        self.directories += 1;
        let (seconds, nanoseconds) = was.modified;
        let mut original = *stat;
        original.st_mode = was.mode;
        original.st_uid = geteuid().as_raw();
        original.st_gid = getegid().as_raw();
        original.st_mtime = seconds;
        original.st_mtime_nsec = nanoseconds as _;
        Ok(original)
    }

    /// [`Check::directory`] of the top.
    pub(super) fn top(&mut self, top: BorrowedFd<'_>) -> Result<Stat, Failure> {
        let stat = rustix::fs::fstat(top).map_err(Failure::at("examine", b""))?;
        self.directory(b"", &stat, top)
    }

    /// Whether the walk has found every file of the fingerprint.
    pub(super) fn is_complete(&self) -> bool {
        (self.files, self.directories)
            == (
                self.fingerprint.files.len(),
                self.fingerprint.directories.len(),
            )
    }
}

impl Visitor for Check<'_> {
    type Error = Failure;

    fn wants(&mut self, found: &Found<'_>) -> Result<bool, Failure> {
        self.knows(found)
    }

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        self.directory(found.path, &found.stat, directory)?;
        Ok(())
    }

    fn leaf(&mut self, _: &Found<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::progress::{Progress, Silent, Task, Unit};
    use crate::rootfs::copy_unmodified;

    fn tree(directory: &Path) -> (PathBuf, TreeFingerprint) {
        let root = directory.join("ROOT");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "content").unwrap();
        fs::hard_link(root.join("a/file"), root.join("a/b/other")).unwrap();
        let fingerprint = TreeFingerprint::take(&root).unwrap().unwrap();
        (root, fingerprint)
    }

    #[test]
    fn a_fingerprint_survives_serialization() {
        let directory = tempfile::tempdir().unwrap();
        let (root, fingerprint) = tree(directory.path());
        assert_eq!(
            (fingerprint.files.len(), fingerprint.directories.len()),
            (2, 3)
        );
        let written = serde_json::to_vec(&fingerprint).unwrap();
        let read: TreeFingerprint = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, fingerprint);
        assert!(read.fits(&root));
        let mut other = read;
        for (_, _, size) in other.files.values_mut() {
            *size += 1;
        }
        assert!(!other.fits(&root));
    }

    /// Changes a file while it is copied.
    struct Meddler<'a>(&'a Path);

    impl Task for Meddler<'_> {
        fn advance(&self, _: u64) {
            fs::write(self.0, "CONTENT").unwrap();
        }

        fn reset(&self, _: u64) {}
    }

    #[test]
    fn a_file_that_changes_while_it_is_copied_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (root, fingerprint) = tree(directory.path());
        let copy = |to: &str, task: &dyn Task| {
            let target = directory.path().join(to);
            fs::create_dir(&target).unwrap();
            copy_unmodified(&root, &target, &fingerprint, task).map(|()| target)
        };
        let task = Silent.watch("", Unit::Bytes);
        let copied = copy("one", &*task).unwrap();
        assert_eq!(fs::read(copied.join("a/b/other")).unwrap(), b"content");
        let error = copy("two", &Meddler(&root.join("a/file"))).unwrap_err();
        assert!(error.to_string().contains("has changed"), "{error}");
        assert!(copy("three", &*task).is_err());
    }

    #[test]
    fn times_in_whole_seconds_make_no_fingerprint() {
        let of = |changed| TreeFingerprint {
            files: BTreeMap::from([(PathKey(1), (1, changed, 0))]),
            ..TreeFingerprint::default()
        };
        assert!(of(1_700_000_000_000_000_001).is_settled());
        assert!(!of(1_700_000_000_000_000_000).is_settled());
        // The clock was set back.
        assert!(!of(i64::MAX).is_settled());
    }
}
