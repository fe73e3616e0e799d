//! Giving a tree's owner back what its modes took away.

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

/// Adds `u+rwx` to every directory of a tree and `u+rw` to every file, makes this user the owner of
/// what belongs to others, and returns how many the system refused to change. Symbolic links are
/// not followed.
///
/// # Errors
/// `path` itself is no directory that can be read.
pub fn make_accessible(path: &Path, task: &dyn Task) -> Result<u64, RootfsError> {
    mend(path, task).map_err(|error| FsError::at("change modes in", path)(error).into())
}

/// Whether anything in a tree, as far as it can be read, belongs to others than this user. What is
/// mounted in it does not count.
pub fn has_foreign_files(path: &Path) -> bool {
    let owner = geteuid().as_raw();
    let look = || -> io::Result<bool> {
        let mut found = false;
        walk_lossy(open(path)?, |_, _, stat| found |= stat.st_uid != owner)?;
        Ok(found)
    };
    look().unwrap_or(false)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let parent = rustix::fs::open(path.parent().unwrap_or(path), OPEN_DIRECTORY, Mode::empty())?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let name = CString::new(name.into_encoded_bytes()).map_err(io::Error::other)?;
    open_directory(parent.as_fd(), &name)
}

fn mend(path: &Path, task: &dyn Task) -> io::Result<u64> {
    let top = open(path)?;
    let owner = geteuid();
    let mut refused = 0;
    walk_lossy(top, |directory, name, stat| {
        task.advance(1);
        let needed = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Mode::RWXU,
            // Links have no modes.
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
