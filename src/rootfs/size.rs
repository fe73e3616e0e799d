//! Measuring trees.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, Stat};

use super::dir_stack::OPEN_DIRECTORY;
use super::error::RootfsError;
use super::walk_lossy::walk_lossy;
use crate::host::fs::FsError;
use crate::host::space::Need;
use crate::progress::Task;

/// Returns the bytes that a tree takes on the disk, as `du -x` counts them: blocks rather than
/// lengths, and files with several hard links once. What cannot be read does not count. `task`
/// counts files.
///
/// # Errors
/// `path` is no directory, or cannot be opened.
pub fn tree_size(path: &Path, task: &dyn Task) -> Result<u64, RootfsError> {
    measure(path, task).map_err(|error| FsError::at("measure", path)(error).into())
}

/// Returns the least that a copy of a tree takes on a file system of the same kind, if no blocks
/// are shared. What cannot be read does not count. `task` counts files.
///
/// # Errors
/// `path` is no directory, or cannot be opened.
pub fn least_copy(path: &Path, task: &dyn Task) -> Result<Need, RootfsError> {
    let mut need = Need::default();
    each_once(path, task, |stat| {
        need.files += 1;
        // Blocks allocated beyond the end of a file are not copied, and a directory that was larger
        // once has a small copy.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            need.bytes += bytes_of(stat).min(size);
        }
    })
    .map_err(FsError::at("measure", path))?;
    Ok(need)
}

fn measure(path: &Path, task: &dyn Task) -> io::Result<u64> {
    let mut bytes = 0;
    each_once(path, task, |stat| bytes += bytes_of(stat))?;
    Ok(bytes)
}

/// Calls `visit` for the top of a tree and everything in it; for files with several hard links
/// once.
fn each_once(path: &Path, task: &dyn Task, mut visit: impl FnMut(&Stat)) -> io::Result<()> {
    let top = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())?;
    visit(&rustix::fs::fstat(&top)?);
    let mut linked = HashSet::new();
    walk_lossy(top, |_, _, stat| {
        task.advance(1);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino)) {
            visit(stat);
        }
    })?;
    Ok(())
}

/// `st_blocks` counts units of 512 bytes, whatever the block size of the file system.
fn bytes_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
