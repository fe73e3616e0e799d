//! The directories of the tree that entries are being made in, held open.
//!
//! A path out of an archive is resolved as a process inside the root would: symbolic links on the
//! way count from the root and never lead out of it. This is done here, name by name, each
//! relative to an open directory and never followed by the kernel. `openat2(RESOLVE_IN_ROOT)`
//! would do the same in one call, but many systems lack it or forbid it, so that this way has to
//! be right in any case; and since directories stay open, most entries cost no resolution at all.
//!
//! Making something in a directory changes its mtime, so each one that is opened has the time it
//! had, or that its entry asks for, set when it is let go.

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

/// Directories held open; a soft limit of 1024 descriptors, as is usual, leaves room for more.
const MAX_OPEN: usize = 256;
/// Bytes in the paths that are known; any number of them can lead to one directory.
const MAX_PATH_BYTES: usize = 4 << 20;
/// How many directories above one are asked for; more would cost more than they save.
const MAX_LOOKED_ABOVE: usize = 8;
/// As the kernel has it.
const MAX_SYMLINKS: usize = 40;
/// Names that the links on the way may add to a path. A path has no more of them as the kernel has
/// it, so that only a maze of links needs more.
const MAX_LINKED_NAMES: usize = 4096;
/// What directories get that no entry describes.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// A directory of the tree.
#[derive(Clone)]
pub(super) struct Directory {
    pub(super) fd: Arc<OwnedFd>,
    /// Together with a name this tells entries apart, whatever links lead to the directory.
    pub(super) inode: u64,
    /// Whether the layer being applied made it, so that nothing of lower layers is in it.
    pub(super) is_fresh: bool,
}

/// What to do about directories that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make them, also in place of files.
    Make,
    /// Have none.
    Leave,
}

/// The open directories.
pub(super) struct Directories {
    root: Arc<OwnedFd>,
    /// What paths in the archive lead to.
    paths: HashMap<Vec<u8>, Known>,
    /// In the keys of `paths`.
    path_bytes: usize,
    open: HashMap<u64, Open>,
    /// Counts uses, to tell which directories were used last.
    clock: u64,
    layer: usize,
    implied: u64,
}

#[derive(Clone, Copy)]
struct Known {
    inode: u64,
    /// Whether a symbolic link is on the way, so that the path may come to mean another one.
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

    /// How many directories were made, in all layers, that entries imply and none describes first.
    pub(super) fn implied(&self) -> u64 {
        self.implied
    }

    /// Begins another layer: no directory is fresh any more.
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
    }

    /// Whether some have to be let go before more are opened.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }

    /// Lets go of those not used lately. Nothing may be under way in them.
    pub(super) fn let_half_go(&mut self) -> Result<(), Failure> {
        let mut uses: Vec<u64> = self.open.values().map(|open| open.used).collect();
        uses.sort_unstable();
        let first_kept = uses[uses.len() / 2];
        self.let_go(|open| open.used < first_kept)
    }

    /// Lets go of all. Nothing may be under way in them.
    pub(super) fn let_all_go(&mut self) -> Result<(), Failure> {
        self.let_go(|_| true)
    }

    fn let_go(&mut self, is_over: impl Fn(&Open) -> bool) -> Result<(), Failure> {
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

    /// Forgets where paths through symbolic links lead, since one is about to change.
    pub(super) fn forget_links(&mut self) {
        self.paths.retain(|_, known| !known.is_through_link);
        self.count_path_bytes();
    }

    fn count_path_bytes(&mut self) {
        self.path_bytes = self.paths.keys().map(Vec::len).sum();
    }

    /// Sets the time that a directory has in the end.
    pub(super) fn set_mtime(&mut self, directory: &Directory, mtime: Timestamp) {
        if let Some(open) = self.open.get_mut(&directory.inode) {
            open.mtime = mtime;
        }
    }

    /// Opens the directory at `path`, which is relative to the root and has no `..` in it, if there
    /// is one.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<Directory>, Failure> {
        match self.find_near(path)? {
            Some(near) => Ok(Some(near)),
            None => self.find_far(path, Missing::Leave),
        }
    }

    /// Opens the directory at `path` if that takes plain steps down at the most.
    pub(super) fn find_near(&mut self, path: &[u8]) -> Result<Option<Directory>, Failure> {
        if let Some(known) = self.paths.get(path).copied() {
            return Ok(self.reuse(known.inode));
        }
        match self.walk_down(path) {
            Some((fd, is_through_link)) => self.keep(path, fd, is_through_link, false).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the directory at `path` where it takes more than that.
    pub(super) fn find_far(
        &mut self,
        path: &[u8],
        missing: Missing,
    ) -> Result<Option<Directory>, Failure> {
        match walk(&self.root, path, missing) {
            Ok(walked) => {
                self.implied += walked.made_in.len() as u64;
                for above in walked.made_in {
                    // Nobody else knows of what was made there.
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

    /// Takes in the directory `name` of `parent`, which `path` leads to.
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
        // Where another path led to the same directory, that one knows the time it shall have.
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

    /// Opens what is below the nearest directory that is open already, if that takes nothing but
    /// plain steps down.
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
    /// The inodes of directories that others were made in.
    made_in: Vec<u64>,
}

/// Goes from the root to `path` as a process inside would.
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
                    // Not a link: a file of a lower layer, where an upper one has a directory.
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

/// Makes a directory that an entry implies.
fn make_implied(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    keeping_mtime(parent, || {
        rustix::fs::mkdirat(parent, name, IMPLIED_MODE)?;
        let fd = open_step(parent, name)?;
        rustix::fs::fchmod(&fd, IMPLIED_MODE)?;
        Ok(fd)
    })
}

/// Changes which names are in a directory; its mtime stays as it was.
fn keeping_mtime<T>(
    directory: BorrowedFd<'_>,
    change: impl FnOnce() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    let stat = rustix::fs::fstat(directory)?;
    let changed = change()?;
    rustix::fs::futimens(directory, &modified_at(Timestamp::from(&stat)))?;
    Ok(changed)
}

/// Whether a directory is not there, or cannot be got at by that path.
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
