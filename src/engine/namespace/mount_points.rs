//! Creates the mount points that are missing in the root tree, and removes them after the run.
//!
//! Several runs may share a root tree, so the last of them removes the mount points. Each run holds
//! a shared lock on the root directory; a run that gets the exclusive lock at its end is the only
//! one left. Before a mount point is created its path is written to a note, the file `mountpoints`
//! in the container's directory, so that after a crash the next run removes it. Each path in the
//! note ends with a zero byte.
//!
//! Mount points in directories of the host are not removed, as with PRoot and Docker: another
//! container may have a mount on the same one, and the kernel silently detaches a mount whose mount
//! point is removed.
//!
//! No start takes a new inode for this: ext4 skips inodes that were freed within the last minutes
//! one by one, which after a thousand starts took a third of the start-up time. So the note is
//! truncated, not removed, and a file to mount on is a hard link to an empty file in the
//! container's directory.
//!
//! On file systems without locks, mount points are not removed.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, flock, linkat};
use rustix::io::Errno;

use crate::host::fs::{make_beneath, open_beneath, open_note, read_limited, remove_empty_beneath};
use crate::spec::{Bind, MOUNT_POINT_FILE, MOUNT_POINTS_FILE, RunSpec, locate};

/// A larger file is not a note of this program.
const NOTE_MAX_BYTES: u64 = 1 << 20;

/// The mount points of a run, and those that earlier runs have not removed.
pub(super) struct MountPoints {
    /// The container's directory, which holds the note.
    directory: PathBuf,
    /// The empty file that mount points for files are hard links to.
    empty: PathBuf,
    root: PathBuf,
    /// The locked root directory; `None` if it cannot be locked.
    tree: Option<File>,
}

impl MountPoints {
    /// Creates the missing mount points. Where that fails, the mount fails later, with its own
    /// error.
    pub(super) fn make(spec: &RunSpec) -> MountPoints {
        let points = MountPoints {
            directory: spec.directory.as_path().to_path_buf(),
            empty: spec.directory.as_path().join(MOUNT_POINT_FILE),
            root: spec.root.as_path().to_path_buf(),
            tree: lock(spec.root.as_path()).ok(),
        };
        for (index, bind) in spec.binds.iter().enumerate() {
            let below = &spec.binds[..index];
            if is_in_memory(below, bind) {
                continue;
            }
            let place = locate(&spec.root, below, &bind.target);
            let is_directory = bind.source.as_path().is_dir();
            if fs::symlink_metadata(place.as_path()).is_ok() {
                continue;
            }
            // The mount reports the error.
            let _ = match place.base == spec.root {
                true => points.make_one(place.below(), is_directory),
                false => make_beneath(place.base.as_path(), place.below(), is_directory),
            };
        }
        points
    }

    /// Creates the mount point `place` in the root tree.
    fn make_one(&self, place: &Path, is_directory: bool) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = place
            .ancestors()
            .map(|path| self.root.join(path))
            .take_while(|path| fs::symlink_metadata(path).is_err())
            .collect();
        missing.reverse();
        let mut lines = Vec::new();
        for path in &missing {
            lines.extend_from_slice(path.as_os_str().as_bytes());
            lines.push(0);
        }
        open_note(&self.directory, MOUNT_POINTS_FILE, OFlags::APPEND)?.write_all(&lines)?;
        if is_directory || self.link_file(place).is_err() {
            make_beneath(&self.root, place, is_directory)?;
        }
        Ok(())
    }

    fn link_file(&self, place: &Path) -> io::Result<()> {
        // If a guest has written to the file through a link to it, the file belongs to the tree
        // now.
        if !fs::symlink_metadata(&self.empty).is_ok_and(|data| is_empty_file(&data)) {
            let _ = fs::remove_file(&self.empty);
            let _ = File::create_new(&self.empty);
        }
        let parent = place.parent().unwrap_or(place);
        let parent = open_beneath(&self.root, parent, true).map_err(|error| error.source)?;
        let name = place.file_name().unwrap_or_default();
        Ok(linkat(CWD, &self.empty, parent, name, AtFlags::empty())?)
    }

    /// Removes the mount points in the note, unless another run still uses the tree. Those that are
    /// no longer empty are kept.
    pub(super) fn remove(&self) {
        let Some(tree) = &self.tree else {
            return;
        };
        let note = read_limited(&self.directory.join(MOUNT_POINTS_FILE), NOTE_MAX_BYTES)
            .unwrap_or_default();
        if note.is_empty() {
            return;
        }
        if flock(tree, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        let mut paths: Vec<&Path> = note
            .split(|&byte| byte == 0)
            .map(|path| Path::new(OsStr::from_bytes(path)))
            // A note that was copied with its container contains paths of another tree.
            .filter_map(|path| path.strip_prefix(&self.root).ok())
            .collect();
        // Longer paths first, so that directories are empty when it is their turn.
        paths.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
        for path in paths {
            let _ = remove_empty_beneath(&self.root, path);
        }
        let _ = open_note(&self.directory, MOUNT_POINTS_FILE, OFlags::TRUNC);
    }
}

/// Whether the bind's target is in a tmpfs, which is not mounted yet.
fn is_in_memory(others: &[Bind], bind: &Bind) -> bool {
    let target = bind.target.as_path();
    let innermost = others
        .iter()
        .rfind(|other| target.starts_with(other.target.as_path()));
    innermost.is_some_and(|other| other.tmpfs.is_some())
}

/// Takes the shared lock on the root directory. A run that is removing its mount points releases
/// the exclusive lock soon. A guest can lock its root directory too and keep the lock, so the
/// number of attempts is limited.
fn lock(root: &Path) -> io::Result<File> {
    const ATTEMPTS_MAX: u32 = 50;
    const INTERVAL: Duration = Duration::from_millis(10);
    let tree = File::open(root)?;
    let mut attempts = 1;
    loop {
        match flock(&tree, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) if attempts < ATTEMPTS_MAX => thread::sleep(INTERVAL),
            locked => return Ok(locked.map(|()| tree)?),
        }
        attempts += 1;
    }
}

fn is_empty_file(data: &Metadata) -> bool {
    data.is_file() && data.len() == 0
}
