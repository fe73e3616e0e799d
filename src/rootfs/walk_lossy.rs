//! Going through a tree as far as it can be read, whatever is in the way.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, Stat};

use super::dir_stack::{DirStack, OPEN_DIRECTORY, is_mount_point};

const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// Shows everything below `top`, but not `top` itself, to `see`: with the directory that holds it,
/// its name there, and what it is, links not followed. A directory is opened after it was shown,
/// so that its mode may be mended first. What cannot be read is passed over.
///
/// # Errors
/// The way back up is gone.
pub(super) fn walk_lossy(
    top: OwnedFd,
    mut see: impl FnMut(BorrowedFd<'_>, &CStr, &Stat),
) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    // For each directory on the way: its subdirectories, once it has been read.
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
                see(directory, name, &stat);
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
