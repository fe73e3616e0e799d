//! The directories of the tree in which entries are being made, held open.
//!
//! A path in an archive is resolved as by a process inside the root: symbolic links on the way
//! count from the root and never lead out of it. It is resolved here, name by name, each relative
//! to an open directory, and the kernel follows no link. `openat2(RESOLVE_IN_ROOT)` does the same
//! in one call, but many systems lack it or forbid it. Since directories stay open, most entries
//! need no resolution at all.
//!
//! Making something in a directory changes its mtime. So when a directory is closed, it gets the
//! mtime that it had, or that its entry asks for.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::dir_stack::{DirStack, OPEN_DIRECTORY};
use super::error::Failure;
use super::tar::Timestamp;
use super::writers::modified_at;

/// The most directories that are held open; the usual soft limit is 1024 descriptors.
const MAX_OPEN: usize = 256;
/// The most bytes in the paths of open directories. Any number of paths can lead to one directory.
const MAX_PATH_BYTES: usize = 4 << 20;
/// How many directories above a path are looked up among the open ones.
const MAX_LOOKED_ABOVE: usize = 8;
/// The most symbolic links on the way, as in the kernel.
const MAX_SYMLINKS: usize = 40;
/// The most names that links on the way may add to a path. No path that the kernel takes has more,
/// so only a maze of links needs more.
const MAX_LINKED_NAMES: usize = 4096;
/// The mode of directories that no entry describes.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// A directory of the tree.
#[derive(Clone)]
pub(super) struct Directory {
    pub(super) fd: Arc<OwnedFd>,
    /// Together with a name, it identifies an entry, whatever links lead to the directory.
    pub(super) inode: u64,
    /// Whether the current layer made the directory, so that nothing of lower layers is in it.
    pub(super) is_fresh: bool,
}

/// What happens to directories on the way that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// They are made, also in place of files.
    Make,
    /// They stay missing.
    Leave,
}

/// The open directories.
pub(super) struct Directories {
    root: Arc<OwnedFd>,
    /// Paths of open directories, as they are in the archive.
    paths: HashMap<Vec<u8>, Known>,
    /// The bytes in the keys of `paths`.
    path_bytes: usize,
    /// Open directories by inode.
    open: HashMap<u64, Open>,
    /// Counts uses, to tell which directories were used last.
    clock: u64,
    /// The number of the current layer.
    layer: usize,
    /// The number of directories made that no entry had described.
    implied: u64,
}

#[derive(Clone, Copy)]
struct Known {
    inode: u64,
    /// Whether a symbolic link is on the way, so that the path may lead elsewhere later.
    is_through_link: bool,
}

struct Open {
    fd: Arc<OwnedFd>,
    mtime: Timestamp,
    made_in_layer: Option<usize>,
    used: u64,
}

impl Directories {
    pub(super) fn new(root: OwnedFd) -> Directories {
        Directories {
            root: Arc::new(root),
            paths: HashMap::new(),
            path_bytes: 0,
            open: HashMap::new(),
            clock: 0,
            layer: 0,
            implied: 0,
        }
    }

    /// The number of directories made, in all layers, that no entry had described.
    pub(super) fn implied(&self) -> u64 {
        self.implied
    }

    /// Begins another layer, in which no directory is fresh.
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
    }

    /// Whether directories have to be closed before more are opened.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }

    /// Closes the half that was not used lately. No writer may be at work.
    pub(super) fn close_half(&mut self) -> Result<(), Failure> {
        let mut uses: Vec<u64> = self.open.values().map(|open| open.used).collect();
        uses.sort_unstable();
        let first_kept = uses[uses.len() / 2];
        self.close(|open| open.used < first_kept)
    }

    /// Closes all. No writer may be at work.
    pub(super) fn close_all(&mut self) -> Result<(), Failure> {
        self.close(|_| true)
    }

    fn close(&mut self, is_over: impl Fn(&Open) -> bool) -> Result<(), Failure> {
        for (inode, open) in self.open.iter().filter(|(_, open)| is_over(open)) {
            rustix::fs::futimens(&open.fd, &modified_at(open.mtime)).map_err(|error| {
                let mut paths = self.paths.iter();
                let path = paths.find(|(_, known)| known.inode == *inode);
                let path = path.map_or(&b"."[..], |(path, _)| path);
                Failure::at("set the time of", path)(error)
            })?;
        }
        self.open.retain(|_, open| !is_over(open));
        let open = &self.open;
        self.paths
            .retain(|_, known| open.contains_key(&known.inode));
        self.count_path_bytes();
        Ok(())
    }

    /// Forgets paths through symbolic links, since a link is about to change.
    pub(super) fn forget_links(&mut self) {
        self.paths.retain(|_, known| !known.is_through_link);
        self.count_path_bytes();
    }

    fn count_path_bytes(&mut self) {
        self.path_bytes = self.paths.keys().map(Vec::len).sum();
    }

    /// Notes the mtime that a directory gets when it is closed.
    pub(super) fn set_mtime(&mut self, directory: &Directory, mtime: Timestamp) {
        if let Some(open) = self.open.get_mut(&directory.inode) {
            open.mtime = mtime;
        }
    }

    /// Opens the directory at `path` if it exists. The path is relative to the root and has no
    /// `..`.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Directory>, Failure> {
        match self.find_near(path)? {
            Some(near) => Ok(Some(near)),
            None => self.find_far(path, Missing::Leave),
        }
    }

    /// Opens the directory at `path` if it is open already, or only steps down lead to it.
    pub(super) fn find_near(&mut self, path: &[u8]) -> Result<Option<Directory>, Failure> {
        if let Some(known) = self.paths.get(path).copied() {
            return Ok(self.reuse(known.inode));
        }
        match self.walk_down(path) {
            Some((fd, is_through_link)) => self.keep(path, fd, is_through_link, false).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the directory at `path` where links are followed, or directories made, on the way.
    pub(super) fn find_far(
        &mut self,
        path: &[u8],
        missing: Missing,
    ) -> Result<Option<Directory>, Failure> {
        match walk(&self.root, path, missing) {
            Ok(walked) => {
                self.implied += walked.made_in.len() as u64;
                for above in walked.made_in {
                    // The names of implied directories are noted nowhere, so the directory does not
                    // count as fresh any more: what is in it has to be looked up.
                    if let Some(open) = self.open.get_mut(&above) {
                        open.made_in_layer = None;
                    }
                }
                self.keep(path, walked.fd, walked.is_through_link, walked.is_new)
                    .map(Some)
            }
            Err(error) if missing == Missing::Leave && is_absence(&error) => Ok(None),
            Err(error) => Err(Failure::at("open the directory", path)(error)),
        }
    }

    /// Opens the directory `name` in `parent`, which is at `path`.
    pub(super) fn enter(
        &mut self,
        path: &[u8],
        parent: &Directory,
        name: &[u8],
        is_new: bool,
    ) -> Result<Directory, Failure> {
        let fd = rustix::fs::openat(&parent.fd, name, OPEN_DIRECTORY, Mode::empty())
            .map_err(Failure::at("open", path))?;
        let is_through_link = self
            .paths
            .get(parent_of(path))
            .is_none_or(|known| known.is_through_link);
        self.keep(path, fd, is_through_link, is_new)
    }

    fn reuse(&mut self, inode: u64) -> Option<Directory> {
        self.clock += 1;
        let open = self.open.get_mut(&inode)?;
        open.used = self.clock;
        Some(Directory {
            fd: Arc::clone(&open.fd),
            inode,
            is_fresh: open.made_in_layer == Some(self.layer),
        })
    }

    fn keep(
        &mut self,
        path: &[u8],
        fd: OwnedFd,
        is_through_link: bool,
        is_new: bool,
    ) -> Result<Directory, Failure> {
        let stat = rustix::fs::fstat(&fd).map_err(Failure::at("open", path))?;
        let inode = stat.st_ino;
        self.path_bytes += path.len();
        if self.path_bytes > MAX_PATH_BYTES {
            self.paths.clear();
            self.path_bytes = path.len();
        }
        self.paths.insert(
            path.to_vec(),
            Known {
                inode,
                is_through_link,
            },
        );
        self.clock += 1;
        // If the directory is open already by another path, that has its mtime.
        let open = self.open.entry(inode).or_insert_with(|| Open {
            fd: Arc::new(fd),
            mtime: Timestamp::from(&stat),
            made_in_layer: is_new.then_some(self.layer),
            used: 0,
        });
        open.used = self.clock;
        Ok(Directory {
            fd: Arc::clone(&open.fd),
            inode,
            is_fresh: open.made_in_layer == Some(self.layer),
        })
    }

    /// Opens the directory at `path` from the nearest one above that is open, if only steps down
    /// lead to it. Also returns whether a symbolic link is on the way.
    fn walk_down(&self, path: &[u8]) -> Option<(OwnedFd, bool)> {
        let nearest = std::iter::successors(Some(path), |path| {
            (!path.is_empty()).then(|| parent_of(path))
        })
        .skip(1)
        .take(MAX_LOOKED_ABOVE)
        .find_map(|above| {
            let known = self.paths.get(above)?;
            let open = self.open.get(&known.inode)?;
            Some((above, &open.fd, known.is_through_link))
        });
        let (above, start, is_through_link) = nearest.unwrap_or((&[], &self.root, false));
        let mut fd = open_step(start.as_fd(), b".").ok()?;
        for name in components(&path[above.len()..]) {
            fd = open_step(fd.as_fd(), name).ok()?;
        }
        Some((fd, is_through_link))
    }
}

/// Where a walk ended.
struct Walked {
    fd: OwnedFd,
    is_through_link: bool,
    is_new: bool,
    /// The inodes of directories in which others were made.
    made_in: Vec<u64>,
}

/// Goes from the root to `path`, as a process inside the root does.
fn walk(root: &OwnedFd, path: &[u8], missing: Missing) -> io::Result<Walked> {
    let start = || DirStack::new(open_step(root.as_fd(), b".")?, ());
    let mut way = start()?;
    let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    let mut linked_names = 0;
    let mut is_new = false;
    let mut made_in = Vec::new();
    while let Some(name) = ahead.pop() {
        if name == b".." {
            way.up()?;
            is_new = false;
            continue;
        }
        let (here, ()) = way.here();
        let (directory, made) = match open_step(here, &name) {
            Ok(directory) => (directory, false),
            Err(Errno::NOENT) if missing == Missing::Make => (make_implied(here, &name)?, true),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                match rustix::fs::readlinkat(here, &name[..], Vec::new()) {
                    Ok(target) => {
                        let target = target.to_bytes();
                        links += 1;
                        linked_names += components(target).count();
                        if links > MAX_SYMLINKS || linked_names > MAX_LINKED_NAMES {
                            return Err(Errno::LOOP.into());
                        }
                        if target.starts_with(b"/") {
                            way = start()?;
                            is_new = false;
                        }
                        ahead.extend(components(target).rev().map(<[u8]>::to_vec));
                    }
                    // A file of a lower layer, where an upper one has a directory.
                    Err(Errno::INVAL) if missing == Missing::Make => {
                        let flags = AtFlags::empty();
                        keeping_mtime(here, || rustix::fs::unlinkat(here, &name[..], flags))?;
                        ahead.push(name);
                    }
                    Err(Errno::INVAL) => return Err(Errno::NOTDIR.into()),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        is_new = made;
        if made {
            made_in.push(way.inode());
        }
        way.down(CString::new(name)?, directory, ())?;
    }
    Ok(Walked {
        fd: way.into_here(),
        is_through_link: links > 0,
        is_new,
        made_in,
    })
}

/// Makes a directory that a name implies.
fn make_implied(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    keeping_mtime(parent, || {
        rustix::fs::mkdirat(parent, name, IMPLIED_MODE)?;
        let fd = open_step(parent, name)?;
        rustix::fs::fchmod(&fd, IMPLIED_MODE)?;
        Ok(fd)
    })
}

/// Makes a change to the names in a directory, and restores the directory's mtime.
fn keeping_mtime<T>(
    directory: BorrowedFd<'_>,
    change: impl FnOnce() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    let stat = rustix::fs::fstat(directory)?;
    let changed = change()?;
    rustix::fs::futimens(directory, &modified_at(Timestamp::from(&stat)))?;
    Ok(changed)
}

/// Whether the error means that a path leads to no directory.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    )
}

fn open_step(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty())
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
}

fn parent_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &path[..slash],
        None => &[],
    }
}
