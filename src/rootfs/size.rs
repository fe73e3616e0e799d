//! Measuring trees.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, RawDir};

use super::descent::{Descent, OPEN_DIRECTORY};
use super::error::RootfsError;
use crate::host::fs::FsError;

const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// Returns the bytes that a tree takes on disk, as `du` counts them: blocks rather than lengths,
/// and files with several hard links once. What cannot be read counts as nothing.
///
/// # Errors
/// `path` itself is no directory that can be read.
pub fn tree_size(path: &Path) -> Result<u64, RootfsError> {
    measure(path).map_err(|error| FsError::at("measure", path)(error).into())
}

fn measure(path: &Path) -> io::Result<u64> {
    let top = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())?;
    let mut bytes = bytes_of(&rustix::fs::fstat(&top)?);
    let mut linked = HashSet::new();
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
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let Ok(stat) = rustix::fs::statat(directory, name, flags) else {
                    continue;
                };
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    bytes += bytes_of(&stat);
                    subdirectories.push(name.to_owned());
                } else if stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino)) {
                    bytes += bytes_of(&stat);
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
                    return Ok(bytes);
                }
            }
        }
    }
}

/// `st_blocks` counts 512 bytes each, whatever the file system's block size is.
fn bytes_of(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
