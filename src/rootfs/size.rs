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

/// Returns the bytes that a tree takes on disk, as `du` counts them: blocks rather than lengths,
/// and files with several hard links once. What cannot be read counts as nothing. `task` counts
/// files.
///
/// # Errors
/// `path` itself is no directory that can be read.
pub fn tree_size(path: &Path, task: &dyn Task) -> Result<u64, RootfsError> {
    measure(path, task).map_err(|error| FsError::at("measure", path)(error).into())
}

/// Returns what a copy of a tree takes at the least, on a file system of the same kind and where no
/// blocks are shared. What cannot be read counts as nothing. `task` counts files.
///
/// # Errors
/// `path` itself is no directory that can be read.
pub fn least_copy(path: &Path, task: &dyn Task) -> Result<Need, RootfsError> {
    let mut need = Need::default();
    each_once(path, task, |stat| {
        need.files += 1;
        // Room that was set aside behind its end is not copied, and directories that were larger
        // once are not so again.
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

/// Shows all that is in a tree, and its top: files with several hard links once.
fn each_once(path: &Path, task: &dyn Task, mut show: impl FnMut(&Stat)) -> io::Result<()> {
    let top = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())?;
    show(&rustix::fs::fstat(&top)?);
    let mut linked = HashSet::new();
    walk_lossy(top, |_, _, stat| {
        task.advance(1);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino)) {
            show(stat);
        }
    })?;
    Ok(())
}

/// `st_blocks` counts 512 bytes each, whatever the file system's block size is.
fn bytes_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
