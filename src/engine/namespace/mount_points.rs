//! Mount points: a mount needs something to lie on, and the root tree should not show afterwards
//! that it did.
//!
//! Several runs share a root tree, so a mount point is removed by the last of them: each holds a
//! shared lock on the tree while it runs, and who gets the exclusive one is alone. What was made
//! is noted in the container's directory before it is made, so that even after a crash somebody
//! takes it away: in `mountpoints`, paths that each end with a zero byte.
//!
//! That holds for the root tree alone. What had to be made in a directory of the host stays there, as
//! with PRoot and Docker: a run of any other container may have a mount on it, which removing what it
//! lies on would take away from under that run without a word.
//!
//! Both are for every start, so neither takes an inode each time: ext4 passes over those freed within
//! the last minutes, one by one, and a thousand starts later that took a third of the next. The note
//! is emptied and stays, and a file to mount on is a link to one that stays beside the tree.
//!
//! Where the file system has no locks, mount points stay.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, flock, linkat};
use rustix::io::Errno;

use crate::host::fs::{
    make_beneath, open_beneath, open_file_beneath, read_limited, remove_empty_beneath,
};
use crate::spec::{Bind, MOUNT_POINT_FILE, MOUNT_POINTS_FILE, RunSpec, locate};

/// A note that is larger is none of ours.
const NOTE_MAX_BYTES: u64 = 1 << 20;

/// The mount points of a run, and of earlier ones that had no chance to remove theirs.
pub(super) struct MountPoints {
    /// The container's directory, which holds the note.
    directory: PathBuf,
    /// The empty file that files to mount on are links to.
    empty: PathBuf,
    root: PathBuf,
    /// The root tree, locked; `None` where that is impossible.
    tree: Option<File>,
}

impl MountPoints {
    /// Makes those that are missing. One that cannot be made is left to the mount to fail for.
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
            // The mount will say what is wrong.
            let _ = match place.base == spec.root {
                true => points.make_one(place.below(), is_directory),
                false => make_beneath(place.base.as_path(), place.below(), is_directory),
            };
        }
        points
    }

    /// Makes `place`, below the root tree.
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
        self.open_note(OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?
            .write_all(&lines)?;
        if is_directory || self.link_file(place).is_err() {
            make_beneath(&self.root, place, is_directory)?;
        }
        Ok(())
    }

    /// No link is followed: others may write to a repository.
    fn open_note(&self, flags: OFlags) -> io::Result<File> {
        open_file_beneath(&self.directory, Path::new(MOUNT_POINTS_FILE), flags)
    }

    fn link_file(&self, place: &Path) -> io::Result<()> {
        // Where somebody found it in the tree and wrote to it, it is his, and no longer empty.
        if !fs::symlink_metadata(&self.empty).is_ok_and(|data| is_empty_file(&data)) {
            let _ = fs::remove_file(&self.empty);
            let _ = File::create_new(&self.empty);
        }
        let parent = place.parent().unwrap_or(place);
        let parent = open_beneath(&self.root, parent, true).map_err(|error| error.source)?;
        let name = place.file_name().unwrap_or_default();
        Ok(linkat(CWD, &self.empty, parent, name, AtFlags::empty())?)
    }

    /// Removes what has been made, unless another run is still there, and unless it has been put
    /// to use.
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
            // A note that was copied along with a container is about another tree.
            .filter_map(|path| path.strip_prefix(&self.root).ok())
            .collect();
        // What is below comes first.
        paths.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
        for path in paths {
            let _ = remove_empty_beneath(&self.root, path);
        }
        let _ = self.open_note(OFlags::WRONLY | OFlags::TRUNC);
    }
}

/// Whether the bind lies in a file system in memory, which is not there yet.
fn is_in_memory(others: &[Bind], bind: &Bind) -> bool {
    let target = bind.target.as_path();
    let innermost = others
        .iter()
        .rfind(|other| target.starts_with(other.target.as_path()));
    innermost.is_some_and(|other| other.tmpfs.is_some())
}

/// Takes the shared lock on the root tree. A run that is just removing its mount points soon lets go
/// of the exclusive one; a guest, which can open its root directory and lock it too, may never do.
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
