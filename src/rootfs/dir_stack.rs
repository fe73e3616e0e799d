//! Going down and up a tree of any depth, with few file descriptors and without recursion.
//!
//! Each step is one name relative to an open directory, and symbolic links are not followed. So a
//! path may be longer than a system call takes, and a process that moves files meanwhile cannot
//! lead the way elsewhere. Only the lowest directories are held open. On the way up, a directory
//! that was closed is opened again as `..` of the one below, and must still be the same.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::host::file_system::is_mount_root;
use crate::host::fs::FsError;

/// The most directories that are held open.
const MAX_OPEN: usize = 32;

/// The flags to open a directory for reading.
pub(super) const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens the top of a tree.
pub(super) fn open_top(path: &Path) -> Result<OwnedFd, FsError> {
    rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())
        .map_err(|error| FsError::at("open", path)(error.into()))
}

/// The path from the top of a tree down to the current directory; `T` is the caller's state of each
/// directory on it.
pub(super) struct DirStack<T> {
    levels: Vec<Level<T>>,
}

struct Level<T> {
    /// Its name in the directory above; empty at the top.
    name: CString,
    fd: Option<OwnedFd>,
    id: (u64, u64),
    state: T,
}

/// A directory that was left.
pub(super) struct Left<T> {
    /// Its name in the directory above.
    pub(super) name: CString,
    pub(super) directory: OwnedFd,
    /// The caller's state.
    pub(super) state: T,
}

impl<T> DirStack<T> {
    /// Starts at `top`.
    pub(super) fn new(top: OwnedFd, state: T) -> io::Result<DirStack<T>> {
        let id = id_of(&rustix::fs::fstat(&top)?);
        Ok(DirStack {
            levels: vec![Level {
                name: CString::default(),
                fd: Some(top),
                id,
                state,
            }],
        })
    }

    /// The current directory and its state.
    pub(super) fn here(&mut self) -> (BorrowedFd<'_>, &mut T) {
        let level = self.levels.last_mut().expect("the top is never left");
        let fd = level.fd.as_ref().expect("the lowest directory is open");
        (fd.as_fd(), &mut level.state)
    }

    /// The inode number of the current directory.
    pub(super) fn inode(&self) -> u64 {
        self.levels.last().expect("the top is never left").id.1
    }

    /// Goes down into `directory`, which has the name `name` in the current one.
    pub(super) fn down(&mut self, name: CString, directory: OwnedFd, state: T) -> io::Result<()> {
        let id = id_of(&rustix::fs::fstat(&directory)?);
        if let Some(far) = self.levels.len().checked_sub(MAX_OPEN) {
            self.levels[far].fd = None;
        }
        self.levels.push(Level {
            name,
            fd: Some(directory),
            id,
            state,
        });
        Ok(())
    }

    /// Goes up, and returns the directory that was left; `None` at the top.
    pub(super) fn up(&mut self) -> io::Result<Option<Left<T>>> {
        if self.levels.len() < 2 {
            return Ok(None);
        }
        let left = self.levels.pop().expect("there are two");
        let directory = left.fd.expect("the lowest directory is open");
        let level = self.levels.last_mut().expect("there were two");
        if level.fd.is_none() {
            let fd = rustix::fs::openat(&directory, c"..", OPEN_DIRECTORY, Mode::empty())?;
            if id_of(&rustix::fs::fstat(&fd)?) != level.id {
                return Err(io::Error::other("a directory was moved meanwhile"));
            }
            level.fd = Some(fd);
        }
        Ok(Some(Left {
            name: left.name,
            directory,
            state: left.state,
        }))
    }

    /// Returns the current directory alone.
    pub(super) fn into_here(mut self) -> OwnedFd {
        let level = self.levels.pop().expect("the top is never left");
        level.fd.expect("the lowest directory is open")
    }

    /// The path from the top to `name` in the current directory, for messages.
    pub(super) fn path_of(&self, name: &CStr) -> Vec<u8> {
        let mut path = Vec::new();
        for level in &self.levels[1..] {
            path.extend_from_slice(level.name.as_bytes());
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        path
    }
}

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Whether something is mounted at the directory `name` in `parent`. On kernels before 5.8 only a
/// mount of another file system is recognized.
pub(super) fn is_mount_point(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    // The host knows its mounts without asking a file server.
    let local = flags | AtFlags::STATX_DONT_SYNC;
    if let Some(is_mount) = is_mount_root(parent, name, local) {
        return Ok(is_mount);
    }
    let below = rustix::fs::statat(parent, name, flags)?;
    Ok(below.st_dev != rustix::fs::fstat(parent)?.st_dev)
}

/// Opens the directory `name` in `parent`; if its mode forbids that, it gets `u+rwx` first.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let open = || rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty());
    match open() {
        Err(Errno::ACCESS) => {}
        other => return Ok(other?),
    }
    set_mode(parent, name, Mode::RWXU)?;
    Ok(open()?)
}

/// Sets the mode of `name` in `parent`; the name must not be a symbolic link.
pub(super) fn set_mode(parent: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<()> {
    chmod_handle(&open_handle(parent, name)?, mode)
}

/// Opens `name` in `parent` for [`chmod_handle`], whatever its mode. It is not followed.
pub(super) fn open_handle(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Sets the mode of an open file, which must not be a symbolic link. chmod by name would follow a
/// link that another process puts there meanwhile.
pub(super) fn chmod_handle(handle: &OwnedFd, mode: Mode) -> io::Result<()> {
    let by_handle = format!("/proc/self/fd/{}", handle.as_raw_fd());
    Ok(rustix::fs::chmod(by_handle, mode)?)
}
