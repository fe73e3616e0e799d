//! Undoes what udocker.py's modes R and S leave in a container.
//!
//! ```text
//! .bind_orig_files/#etc#passwd  the container's own /etc/passwd; in ROOT stands a link instead, to
//!                               .bind_host_files/#etc#passwd, which exists only during a run
//! .mountpoints/#data#in -> #    a mount point that was created -> its part that existed before
//! ```
//!
//! udocker.py does not undo this itself after a run, so other modes and programs find dangling
//! links.

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
/// A file cannot be moved or removed, or a link inside the container stands in the way.
pub fn undo_udocker_py_binds(container: &Container) -> Result<(), ContainerError> {
    let root = container.root();
    put_all_back(container)?;
    remove_tree(&root.join(PLACEHOLDERS), &Silent)?;
    let mount_points = container.entry(MOUNT_POINTS);
    for name in names_in(&mount_points) {
        let before = fs::read_link(mount_points.join(&name)).unwrap_or_default();
        let before = decoded_path(&before.to_string_lossy());
        remove_mount_point(&root, &decoded_path(&name), &before);
    }
    Ok(remove_tree(&mount_points, &Silent)?)
}

/// Puts back files that were replaced by links, before a run, an export or a copy. Errors are
/// ignored.
pub(super) fn put_back_files(container: &Container) {
    if container.entry(ORIGINALS).is_dir() && put_all_back(container).is_ok() {
        // Only if it is empty: it holds the host's files while udocker.py runs the container.
        let _ = fs::remove_dir(container.root().join(PLACEHOLDERS));
    }
}

/// Puts back all files that can be put back, and returns the first error.
fn put_all_back(container: &Container) -> Result<(), ContainerError> {
    let (root, originals) = (container.root(), container.entry(ORIGINALS));
    let put_back = |name: String| put_back(&originals.join(&name), &root, &decoded_path(&name));
    let outcomes: Vec<_> = names_in(&originals).into_iter().map(put_back).collect();
    outcomes.into_iter().collect::<Result<(), _>>()?;
    Ok(remove_tree(&originals, &Silent)?)
}

/// Returns the path that udocker.py has encoded in a file name.
fn decoded_path(name: &str) -> PathBuf {
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

/// Moves `original` to `target` below `root`, unless a file other than a link exists there.
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

/// Removes `path` and its parents up to `before`, which existed already, as far as they are empty.
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
    fn decoded_paths_stay_below_the_root() {
        for (name, path) in [
            ("#etc#passwd", "etc/passwd"),
            ("#", ""),
            ("#..#..#etc#shadow", "etc/shadow"),
            ("data", "data"),
        ] {
            assert_eq!(decoded_path(name), Path::new(path), "{name}");
        }
    }
}
