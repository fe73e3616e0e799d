//! What tells later which files of a tree are as they were made.
//!
//! Whatever changes a file's content, attributes or names gives it another time of change, and
//! nobody can choose that one. So what has the path, inode and time of change that it had is as it
//! was. Directories change whenever something is made in them; what they were is remembered.

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

/// Entries of a tree beyond which it would take too much memory.
const MAX_ENTRIES: usize = 500_000;

/// How long the clock that files are stamped with may stand still: 10 ms where the kernel ticks
/// a hundred times a second.
const TICKS: u32 = 20;
const TICK: Duration = Duration::from_millis(1);

/// What the files of a tree were when it was made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFingerprint {
    /// All but directories.
    files: BTreeMap<PathKey, FileFingerprint>,
    directories: BTreeMap<PathKey, DirectoryFingerprint>,
}

/// What a file was: inode, time of change, and size.
type FileFingerprint = (u64, i64, i64);

/// What a directory was.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DirectoryFingerprint {
    inode: u64,
    changed: i64,
    mode: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    has_xattrs: bool,
}

/// The beginning of the SHA-256 of a path from the top: paths may be long, and no text.
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
    /// Takes the fingerprint of a tree that has just been made, and that nobody changes meanwhile.
    /// None where times would not tell, or of a tree too large.
    ///
    /// # Errors
    /// Something cannot be read.
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

    /// Whether every change from now on will show: none may come at the very time that is
    /// already noted.
    fn is_settled(&self) -> bool {
        let of_directories = self.directories.values().map(|one| one.changed);
        let of_files = self.files.values().map(|(_, changed, _)| *changed);
        let times = || of_directories.clone().chain(of_files.clone());
        // A file system that counts whole seconds.
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

    /// Whether all of the tree is still there, below `root`; there may be more.
    pub fn fits(&self, root: &Path) -> bool {
        let Ok(top) = open_top(root) else {
            return false;
        };
        let mut check = Check::of(self);
        check.top(top.as_fd()).is_ok() && walk(top, &mut check).is_ok() && check.is_complete()
    }
}

/// What the mode of a directory that was unpacked has in any case.
const OPEN_TO_OWNER: u32 = 0o500;

const NANOSECONDS: i64 = 1_000_000_000;

/// When a file, its attributes or its names were last changed, in nanoseconds since 1970.
fn changed_at(stat: &Stat) -> i64 {
    let nanoseconds = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
    stat.st_ctime.saturating_mul(NANOSECONDS) + nanoseconds
}

fn file_fingerprint(stat: &Stat) -> FileFingerprint {
    (stat.st_ino, changed_at(stat), stat.st_size)
}

/// Whether both are the same file, not changed in between.
pub(super) fn is_unchanged(before: &Stat, after: &Stat) -> bool {
    before.st_dev == after.st_dev && file_fingerprint(before) == file_fingerprint(after)
}

/// What is said of a file that is no longer what it was.
pub(super) fn has_changed() -> io::Error {
    io::Error::other("it is no longer what it was")
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

/// A tree compared with its fingerprint while somebody goes through it.
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

    /// Whether something belongs to the tree as it was made.
    pub(super) fn knows(&mut self, found: &Found<'_>) -> Result<bool, Failure> {
        let stat = &found.stat;
        if is_directory(stat) {
            let path = PathKey::of(found.path);
            let is_known = self.fingerprint.directories.contains_key(&path);
            // Nobody asked for this container; so a mode is not lifted, not even for a moment.
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

    /// What the directory at `path`, which now is `stat`, was.
    pub(super) fn directory(
        &mut self,
        path: &[u8],
        stat: &Stat,
        directory: BorrowedFd<'_>,
    ) -> Result<Stat, Failure> {
        let changed = || Failure::at("copy", path)(has_changed());
        let was = self.fingerprint.directories.get(&PathKey::of(path));
        let was = was.ok_or_else(changed)?;
        // What extended attributes were is not remembered.
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

    /// Whether all that was there has been seen.
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
    fn an_fingerprint_survives_being_written() {
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

    /// Somebody who changes a file while it is copied.
    struct Meddler<'a>(&'a Path);

    impl Task for Meddler<'_> {
        fn advance(&self, _: u64) {
            fs::write(self.0, "CONTENT").unwrap();
        }

        fn reset(&self, _: u64) {}
    }

    #[test]
    fn a_file_that_changes_while_it_is_copied_spoils_the_copy() {
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
        assert!(
            error.to_string().contains("no longer what it was"),
            "{error}"
        );
        assert!(copy("three", &*task).is_err());
    }

    #[test]
    fn whole_seconds_tell_too_little() {
        let of = |changed| TreeFingerprint {
            files: BTreeMap::from([(PathKey(1), (1, changed, 0))]),
            ..TreeFingerprint::default()
        };
        assert!(of(1_700_000_000_000_000_001).is_settled());
        assert!(!of(1_700_000_000_000_000_000).is_settled());
        // A clock that was set back.
        assert!(!of(i64::MAX).is_settled());
    }
}
