//! Giving a tree's owner back what its modes took away.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, RawDir, chownat};
use rustix::process::geteuid;

use super::descent::{Descent, OPEN_DIRECTORY, open_directory, set_mode};
use super::error::RootfsError;
use crate::host::fs::FsError;

const NOFOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;
const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// Adds `u+rwx` to every directory of a tree and `u+rw` to every file, makes this user the owner of
/// what belongs to others, and returns how many the system refused to change. Symbolic links are not followed.
///
/// # Errors
/// `path` itself is no directory that can be read.
pub fn make_accessible(path: &Path) -> Result<u64, RootfsError> {
    walk(path).map_err(|error| FsError::at("change modes in", path)(error).into())
}

fn walk(path: &Path) -> io::Result<u64> {
    let parent = rustix::fs::open(path.parent().unwrap_or(path), OPEN_DIRECTORY, Mode::empty())?;
    let name = path.file_name().unwrap_or_default().to_owned();
    let name = CString::new(name.into_encoded_bytes()).map_err(io::Error::other)?;
    let top = open_directory(std::os::fd::AsFd::as_fd(&parent), &name)?;
    let owner = geteuid();
    let mut refused = 0;
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    // For each directory on the way: its subdirectories, once it has been read.
    let mut descent = Descent::new(top, None::<Vec<CString>>)?;
    loop {
        let (directory, pending) = descent.here();
        let pending = pending.get_or_insert_with(|| {
            let mut subdirectories = Vec::new();
            let mut entries = RawDir::new(directory, &mut buffer);
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                let Ok(stat) = rustix::fs::statat(directory, name, NOFOLLOW) else {
                    continue;
                };
                let needed = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Mode::RWXU,
                    FileType::Symlink => continue,
                    _ => Mode::RUSR | Mode::WUSR,
                };
                let mode = Mode::from_raw_mode(stat.st_mode);
                let is_owned = stat.st_uid == owner.as_raw()
                    || chownat(directory, name, Some(owner), None, NOFOLLOW).is_ok();
                if !is_owned
                    || !mode.contains(needed) && set_mode(directory, name, mode | needed).is_err()
                {
                    refused += 1;
                }
                if needed == Mode::RWXU {
                    subdirectories.push(name.to_owned());
                }
            }
            subdirectories
        });
        match pending.pop() {
            Some(name) => {
                let opened = rustix::fs::openat(directory, &name, OPEN_DIRECTORY, Mode::empty());
                if let Ok(subdirectory) = opened {
                    descent.down(name, subdirectory, None)?;
                }
            }
            None => {
                if descent.up()?.is_none() {
                    return Ok(refused);
                }
            }
        }
    }
}
