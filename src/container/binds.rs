//! What udocker.py's modes R and S leave in a container, taken back.
//!
//! ```text
//! .bind_orig_files/#etc#passwd     the container's own file; ROOT/etc/passwd is a link to
//! ROOT/.bind_host_files/#etc#passwd  which exists only while such a container runs
//! .mountpoints/#data#in -> #       a mount point that was made, and the part that was there before
//! ```
//!
//! It never does so itself after a run, so that its other modes and everybody else find links that
//! lead nowhere.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};

use super::ContainerError;
use crate::host::fs::{FsError, open_beneath, remove_empty_beneath};
use crate::progress::Silent;
use crate::rootfs::remove_tree;
use crate::store::Container;

const ORIGINALS: &str = ".bind_orig_files";
const PLACEHOLDERS: &str = ".bind_host_files";
const MOUNT_POINTS: &str = ".mountpoints";

/// Puts back files that were replaced by links, and removes empty mount points.
///
/// # Errors
/// What the file system says; or a link inside the container stands in the way.
pub fn undo_udocker_py_binds(container: &Container) -> Result<(), ContainerError> {
    let root = container.root();
    put_all_back(container)?;
    remove_tree(&root.join(PLACEHOLDERS), &Silent)?;
    let mount_points = container.entry(MOUNT_POINTS);
    for name in names_in(&mount_points) {
        let before = fs::read_link(mount_points.join(&name)).unwrap_or_default();
        let before = inner_path(&before.to_string_lossy());
        remove_mount_point(&root, &inner_path(&name), &before);
    }
    Ok(remove_tree(&mount_points, &Silent)?)
}

/// Puts back files that were replaced by links, for a run, an export or a copy. Where that cannot
/// be, they do without.
pub(super) fn put_back_files(container: &Container) {
    if container.entry(ORIGINALS).is_dir() && put_all_back(container).is_ok() {
        // Not what is in it: while udocker.py runs the container, it has the host's files there.
        let _ = fs::remove_dir(container.root().join(PLACEHOLDERS));
    }
}

/// Puts back what can be, and tells of the first that cannot.
fn put_all_back(container: &Container) -> Result<(), ContainerError> {
    let (root, originals) = (container.root(), container.entry(ORIGINALS));
    let put_back = |name: String| put_back(&originals.join(&name), &root, &inner_path(&name));
    let outcomes: Vec<_> = names_in(&originals).into_iter().map(put_back).collect();
    outcomes.into_iter().collect::<Result<(), _>>()?;
    Ok(remove_tree(&originals, &Silent)?)
}

/// The path that udocker.py made a file name of.
fn inner_path(name: &str) -> PathBuf {
    let parts = name.split('#');
    parts
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Moves `original` to `target` below `root`, unless there is something other than a link.
fn put_back(original: &Path, root: &Path, target: &Path) -> Result<(), ContainerError> {
    let Some(name) = target.file_name() else {
        return Ok(());
    };
    let directory = open_beneath(root, target.parent().unwrap_or(Path::new("")), false)?;
    let there = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_replaceable = match there {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Symlink,
        Err(_) => true,
    };
    if is_replaceable {
        rustix::fs::renameat(rustix::fs::CWD, original, directory.as_fd(), name)
            .map_err(io::Error::from)
            .map_err(FsError::at("put back", &root.join(target)))?;
    }
    Ok(())
}

/// Removes `path` and the directories above it down to `before`, as far as they are empty.
fn remove_mount_point(root: &Path, path: &Path, before: &Path) {
    for path in path.ancestors().take_while(|path| *path != before) {
        match remove_empty_beneath(root, path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => break,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_that_stay_inside() {
        for (name, path) in [
            ("#etc#passwd", "etc/passwd"),
            ("#", ""),
            ("#..#..#etc#shadow", "etc/shadow"),
            ("data", "data"),
        ] {
            assert_eq!(inner_path(name), Path::new(path), "{name}");
        }
    }
}
