//! Visiting every file of a tree, from top to bottom. Nothing is changed, except that modes which
//! deny the owner access are extended while it is needed.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::dir_stack::{DirStack, OPEN_DIRECTORY, chmod_handle, is_mount_point, open_handle};
use super::error::Failure;

const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// A file of any type in a tree.
pub(super) struct Found<'a> {
    /// The directory that holds it.
    pub(super) parent: BorrowedFd<'a>,
    /// Its name in that directory.
    pub(super) name: &'a CStr,
    /// Its path from the top.
    pub(super) path: &'a [u8],
    /// Its attributes; links are not followed.
    pub(super) stat: Stat,
}

/// What [`walk`] calls for each file.
pub(super) trait Visitor {
    /// Why the walk ends early.
    type Error: From<Failure>;
    /// Whether a file is to be visited. Nothing below a directory that is not is visited either.
    fn wants(&mut self, _: &Found<'_>) -> Result<bool, Self::Error> {
        Ok(true)
    }
    /// Visits a directory, before its content.
    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Self::Error>;
    /// Visits a file of any other type.
    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Self::Error>;
    /// Leaves the directory that was entered last and not left yet.
    fn leave(&mut self) -> Result<(), Self::Error>;
}

/// Visits everything below `top`, but not `top` itself, in the order of names. Nothing below a
/// mount point is visited.
pub(super) fn walk<V: Visitor>(top: OwnedFd, visitor: &mut V) -> Result<(), V::Error> {
    let at_top = |error: io::Error| Failure::at("read", b"")(error);
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    let names = Names::read(top.as_fd(), &mut buffer).map_err(at_top)?;
    let mut stack = DirStack::new(top, (names, None)).map_err(at_top)?;
    loop {
        let (_, (names, _)) = stack.here();
        let Some(name) = names.pop() else {
            match stack
                .up()
                .map_err(|error| Failure::at("read", b"..")(error))?
            {
                Some(_) => visitor.leave()?,
                None => return Ok(()),
            }
            continue;
        };
        let path = stack.path_of(&name);
        let (parent, _) = stack.here();
        let stat = match rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // A process in the container may remove files meanwhile.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(Failure::at("examine", &path)(error).into()),
        };
        let found = Found {
            parent,
            name: &name,
            path: &path,
            stat,
        };
        if !visitor.wants(&found)? {
            continue;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            visitor.leaf(&found)?;
            continue;
        }
        let (directory, added) =
            open_to_read(&found, OPEN_DIRECTORY).map_err(Failure::at("open", &path))?;
        visitor.enter(&found, directory.as_fd())?;
        let names = if is_mount_point(parent, &name).unwrap_or(false) {
            Names::NONE
        } else {
            Names::read(directory.as_fd(), &mut buffer).map_err(Failure::at("read", &path))?
        };
        stack
            .down(name, directory, (names, added))
            .map_err(Failure::at("open", &path))?;
    }
}

/// The names in a directory that are still to be visited. There may be a million, so they share one
/// buffer.
struct Names {
    /// The names, one after the other, each with a NUL at its end.
    text: Vec<u8>,
    /// Where each name begins, in reverse order of names.
    starts: Vec<usize>,
}

impl Names {
    const NONE: Names = Names {
        text: Vec::new(),
        starts: Vec::new(),
    };

    fn read(directory: BorrowedFd<'_>, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Names> {
        let Names {
            mut text,
            mut starts,
        } = Names::NONE;
        let mut entries = RawDir::new(directory, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                starts.push(text.len());
                text.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        starts.sort_unstable_by(|&a, &b| name_at(&text, b).cmp(name_at(&text, a)));
        Ok(Names { text, starts })
    }

    fn pop(&mut self) -> Option<CString> {
        let start = self.starts.pop()?;
        Some(name_at(&self.text, start).to_owned())
    }
}

/// The name in `text` that begins at `start`.
fn name_at(text: &[u8], start: usize) -> &CStr {
    CStr::from_bytes_until_nul(&text[start..]).unwrap_or_default()
}

/// Opens a file or directory to read it. Where its mode does not let its owner read it, or search
/// it as a directory, `u+rx` is added until the second value is dropped. Until then other processes
/// see the added permission, and a signal that ends this process leaves it there.
pub(super) fn open_to_read(
    found: &Found<'_>,
    flags: OFlags,
) -> io::Result<(OwnedFd, Option<AddedPermission>)> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = || rustix::fs::openat(found.parent, found.name, flags, Mode::empty());
    match open() {
        Ok(opened) if !flags.contains(OFlags::DIRECTORY) || can_search(&opened, &found.stat) => {
            return Ok((opened, None));
        }
        Ok(_) | Err(Errno::ACCESS) => {}
        Err(error) => return Err(error.into()),
    }
    let added = AddedPermission::add(found)?;
    Ok((open()?, Some(added)))
}

/// Whether this process may look up names in a directory: as its owner, or as root.
fn can_search(directory: &OwnedFd, stat: &Stat) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR)
        || rustix::fs::openat(directory, c".", flags, Mode::empty()).is_ok()
}

/// Permission that the owner of a file or directory has until this is dropped.
pub(super) struct AddedPermission {
    handle: OwnedFd,
    /// The mode without it.
    mode: Mode,
}

impl AddedPermission {
    fn add(found: &Found<'_>) -> io::Result<AddedPermission> {
        let handle = open_handle(found.parent, found.name)?;
        let mode = Mode::from_raw_mode(found.stat.st_mode & 0o7777);
        let added = AddedPermission { handle, mode };
        chmod_handle(&added.handle, mode | Mode::RUSR | Mode::XUSR)?;
        Ok(added)
    }
}

impl Drop for AddedPermission {
    fn drop(&mut self) {
        // The same call has just succeeded; there is nobody to tell if it fails now.
        let _ = chmod_handle(&self.handle, self.mode);
    }
}
