//! Visiting the files of a tree as far as it can be read.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, Stat};

use super::dir_stack::{DirStack, OPEN_DIRECTORY, is_mount_point};

const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// Calls `visit` for everything below `top`, but not for `top` itself: with the directory that
/// holds the file, its name in that, and its attributes. A directory is visited before it is
/// opened, so that `visit` may change its mode first. What cannot be read is passed over, and so
/// are mount points.
///
/// # Errors
/// A directory was moved, so that the way back up is lost.
pub(super) fn walk_lossy(
    top: OwnedFd,
    mut visit: impl FnMut(BorrowedFd<'_>, &CStr, &Stat),
) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    // The state of a directory is its subdirectories, once it has been read.
    let mut stack = DirStack::new(top, None::<Vec<CString>>)?;
    loop {
        let (directory, pending) = stack.here();
        let pending = pending.get_or_insert_with(|| {
            let mut subdirectories = Vec::new();
            let mut entries = RawDir::new(directory, &mut buffer);
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let Ok(stat) = rustix::fs::statat(directory, name, flags) else {
                    continue;
                };
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if is_directory && is_mount_point(directory, name).unwrap_or(true) {
                    continue;
                }
                visit(directory, name, &stat);
                if is_directory {
                    subdirectories.push(name.to_owned());
                }
            }
            subdirectories
        });
        match pending.pop() {
            Some(name) => {
                let opened = rustix::fs::openat(directory, &name, OPEN_DIRECTORY, Mode::empty());
                if let Ok(subdirectory) = opened {
                    stack.down(name, subdirectory, None)?;
                }
            }
            None => {
                if stack.up()?.is_none() {
                    return Ok(());
                }
            }
        }
    }
}
