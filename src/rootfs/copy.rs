//! A copy of a tree that shares what the file system can share.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Uid};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::attributes::Attributes;
use super::descent::{Descent, OPEN_DIRECTORY};
use super::error::{Failure, RootfsError};
use super::tar::Timestamp;
use super::walk::{Found, Visitor, open_to_read, runs_of, walk, xattrs_of};
use super::writers::{modified_at, set_xattrs};
use crate::host::fs::FsError;

/// Most bytes that one system call is asked to copy.
const COPY_STEP_BYTES: usize = 1 << 30;

/// Copies everything in the directory `source` into the directory `target`, which may hold
/// directories of the same names already, and nothing else.
///
/// Content is shared where the file system can do that (`FICLONE`), else copied by the system,
/// without filling holes. Hard links stay links; modes, times and extended attributes stay.
/// Sockets are left out, and so is what other file systems hold that are mounted in the tree.
/// Returns what of `attributes` the copies are to have.
///
/// # Errors
/// Something cannot be read or made; what was made until then stays.
pub fn copy_tree(
    source: &Path,
    target: &Path,
    attributes: &Attributes,
) -> Result<Attributes, RootfsError> {
    let open = |path: &Path| {
        rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())
            .map_err(|error| FsError::at("open", path)(error.into()))
    };
    let from = open(source)?;
    let top = open(target)?;
    let to = top
        .try_clone()
        .and_then(|top| Descent::new(top, None))
        .map_err(FsError::at("open", target))?;
    let mut copier = Copier {
        target: to,
        top,
        linked: HashMap::new(),
        can_share: true,
        known: attributes,
        copies: Attributes::default(),
    };
    walk(from, &mut copier).map_err(|failure| failure.below(source))?;
    Ok(copier.copies)
}

struct Copier<'a> {
    /// The directory being filled; for each on the way, what it is to get when it is full.
    target: Descent<Option<Full>>,
    /// The top of the copy, from which the paths in `linked` count.
    top: OwnedFd,
    /// Paths of files with several names, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Whether sharing is worth another try.
    can_share: bool,
    known: &'a Attributes,
    copies: Attributes,
}

/// What a directory gets once nothing is written into it any more.
struct Full {
    stat: Stat,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Visitor for Copier<'_> {
    type Error = Failure;

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let at = |action| Failure::at::<io::Error>(action, found.path);
        let (parent, _) = self.target.here();
        match rustix::fs::mkdirat(parent, found.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(at("create directory")(error.into())),
        }
        self.known.copy_to(found, parent, &mut self.copies);
        let made = rustix::fs::openat(parent, found.name, OPEN_DIRECTORY, Mode::empty())
            .map_err(|error| at("open")(error.into()))?;
        let full = Full {
            stat: found.stat,
            xattrs: xattrs_of(directory),
        };
        self.target
            .down(CString::from(found.name), made, Some(full))
            .map_err(at("open"))
    }

    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        self.copy(found).map_err(Failure::at("copy", found.path))?;
        let (parent, _) = self.target.here();
        self.known.copy_to(found, parent, &mut self.copies);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Failure> {
        let (directory, full) = self.target.here();
        let finished = full.take().map_or(Ok(()), |full| {
            set_xattrs(directory, &full.xattrs);
            finish(directory, &full.stat)
        });
        finished.map_err(Failure::at(
            "set mode and time of",
            &self.target.path_of(c""),
        ))?;
        let left = self.target.up();
        left.map_err(Failure::at("read", b".."))?;
        Ok(())
    }
}

impl Copier<'_> {
    fn copy(&mut self, found: &Found<'_>) -> io::Result<()> {
        let stat = &found.stat;
        let (parent, _) = self.target.here();
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.linked.get(&id)
        {
            match rustix::fs::linkat(&self.top, &first[..], parent, found.name, AtFlags::empty()) {
                // Deeper than a system call reaches, or more links than a file may have.
                Err(Errno::NAMETOOLONG | Errno::MLINK) => {}
                linked => return Ok(linked?),
            }
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                copy_file(found, parent, &mut self.can_share)?;
                if stat.st_nlink > 1 {
                    self.linked.insert(id, found.path.to_vec());
                }
                Ok(())
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())?;
                rustix::fs::symlinkat(&target, parent, found.name)?;
                set_time(parent, found)
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(parent, found.name, FileType::Fifo, mode, 0)?;
                // The umask has taken its part.
                rustix::fs::chmodat(parent, found.name, mode, AtFlags::empty())?;
                set_time(parent, found)
            }
            // Sockets mean nothing without their process, and nobody here can make devices.
            _ => Ok(()),
        }
    }
}

/// Gives the copy of something that cannot be opened its time.
fn set_time(parent: BorrowedFd<'_>, found: &Found<'_>) -> io::Result<()> {
    let times = modified_at(mtime_of(&found.stat));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(parent, found.name, &times, flags)?)
}

fn copy_file(found: &Found<'_>, parent: BorrowedFd<'_>, can_share: &mut bool) -> io::Result<()> {
    let source = File::from(open_to_read(found, OFlags::RDONLY)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, found.name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut made = File::from(made);
    let size = u64::try_from(found.stat.st_size).unwrap_or(0);
    if size > 0 && !share(&source, &made, can_share) {
        match runs_of(source.as_fd(), &found.stat)? {
            None => {
                io::copy(&mut &source, &mut made)?;
            }
            Some(runs) => {
                for (offset, length) in runs {
                    copy_run(&source, &made, offset, length)?;
                }
                made.set_len(size)?;
            }
        }
    }
    set_xattrs(made.as_fd(), &xattrs_of(source.as_fd()));
    finish(made.as_fd(), &found.stat)
}

/// Lets both files have the same blocks, until one of them is written to.
fn share(source: &File, made: &File, can_share: &mut bool) -> bool {
    if !*can_share {
        return false;
    }
    match rustix::fs::ioctl_ficlone(made, source) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
            *can_share = false;
            false
        }
        Err(_) => false,
    }
}

/// Copies data to the same place in another file.
fn copy_run(source: &File, made: &File, offset: u64, length: u64) -> io::Result<()> {
    rustix::fs::seek(source, SeekFrom::Start(offset))?;
    rustix::fs::seek(made, SeekFrom::Start(offset))?;
    let mut left = length;
    while left > 0 {
        let step = left.min(COPY_STEP_BYTES as u64);
        let mut part = io::Read::take(source, step);
        let copied = io::copy(&mut part, &mut &*made)?;
        if copied == 0 {
            break;
        }
        left -= copied;
    }
    Ok(())
}

/// Of another owner's file the owner is kept, where this process may: as root of id ranges.
fn finish(made: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    if stat.st_uid != geteuid().as_raw() || stat.st_gid != getegid().as_raw() {
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        // Before the mode, whose set-user-ID bit it would take away.
        let _ = rustix::fs::fchown(made, Some(owner), Some(group));
    }
    rustix::fs::fchmod(made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(made, &modified_at(mtime_of(stat)))?)
}

fn mtime_of(stat: &Stat) -> Timestamp {
    Timestamp {
        seconds: stat.st_mtime,
        nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}
