//! Giving the caller access to all files of a tree.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, chownat};
use rustix::process::geteuid;

use super::dir_stack::{OPEN_DIRECTORY, open_directory, set_mode};
use super::error::RootfsError;
use super::walk_lossy::walk_lossy;
use crate::host::fs::FsError;
use crate::progress::Task;

/// Adds `u+rwx` to every directory of a tree and `u+rw` to every file, and makes files of other
/// users the caller's. Returns the number of files that the system refused to change. Symbolic
/// links are not followed.
///
/// # Errors
/// `path` is no directory, or cannot be opened.
pub fn make_accessible(path: &Path, task: &dyn Task) -> Result<u64, RootfsError> {
    add_access(path, task).map_err(|error| FsError::at("change modes in", path)(error).into())
}

/// Whether anything in a tree, as far as it can be read, belongs to another user.
pub fn has_foreign_files(path: &Path) -> bool {
    let owner = geteuid().as_raw();
    let search = || -> io::Result<bool> {
        let mut found = false;
        walk_lossy(open(path)?, |_, _, stat| found |= stat.st_uid != owner)?;
        Ok(found)
    };
    search().unwrap_or(false)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let parent = rustix::fs::open(path.parent().unwrap_or(path), OPEN_DIRECTORY, Mode::empty())?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let name = CString::new(name.into_encoded_bytes()).map_err(io::Error::other)?;
    open_directory(parent.as_fd(), &name)
}

fn add_access(path: &Path, task: &dyn Task) -> io::Result<u64> {
    let top = open(path)?;
    let owner = geteuid();
    let mut refused = 0;
    walk_lossy(top, |directory, name, stat| {
        task.advance(1);
        let needed = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Mode::RWXU,
            // A link has no mode of its own.
            FileType::Symlink => Mode::empty(),
            _ => Mode::RUSR | Mode::WUSR,
        };
        let mode = Mode::from_raw_mode(stat.st_mode);
        let is_owned = stat.st_uid == owner.as_raw()
            || chownat(
                directory,
                name,
                Some(owner),
                None,
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .is_ok();
        if !is_owned || !mode.contains(needed) && set_mode(directory, name, mode | needed).is_err()
        {
            refused += 1;
        }
    })?;
    Ok(refused)
}
