//! Directories that are being filled or removed.
//!
//! `<staging>/<id>` is the directory, and the process that works on it holds `<staging>/<id>.lock`.
//! A lock that no process holds marks a directory that a killed process has left. Where that is not
//! certain, because another host created the lock or there are no locks, its age decides.

use std::path::{Path, PathBuf};

use super::garbage::Age;
use super::lock::Lock;
use crate::host::fs::{self, FsError};

/// The right to a name in a staging directory, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    lock_path: PathBuf,
    _lock: Lock,
    path: PathBuf,
}

impl Slot {
    /// Takes the name `id` in `staging`, which is created if missing. The directory `id` itself is
    /// not created.
    pub(super) fn take(staging: &Path, id: &str) -> Result<Slot, FsError> {
        fs::create_dir_all(staging)?;
        let lock_path = staging.join(format!("{id}.lock"));
        let lock = Lock::exclusive(&lock_path)?;
        lock.sign();
        Ok(Slot {
            path: staging.join(id),
            lock_path,
            _lock: lock,
        })
    }

    /// The same lock, for a directory elsewhere.
    pub(super) fn at(mut self, path: &Path) -> Slot {
        self.path = path.to_path_buf();
        self
    }

    /// The path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The lock file is removed only after the directory, so that a leftover is always marked.
        if !self.path.exists() {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// Returns the directories in `staging` that no process works on any more, each with its slot.
/// Those for which that is not certain are returned only if they are as old as `age`.
pub(super) fn abandoned(staging: &Path, age: Age) -> Vec<Slot> {
    let Ok(entries) = std::fs::read_dir(staging) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| abandoned_slot(&entry.path(), age))
        .collect()
}

/// Removes lock files that no process holds and whose directory is gone. A process that has just
/// created one and not locked it yet continues without: then only the age of its directory tells
/// whether it is abandoned.
pub(super) fn remove_stray_locks(staging: &Path) {
    for entry in std::fs::read_dir(staging).into_iter().flatten().flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "lock")
            && !path.with_extension("").exists()
            && let Ok(Some(_unused)) = Lock::try_existing(&path)
        {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn abandoned_slot(path: &Path, age: Age) -> Option<Slot> {
    let mut lock_name = path.as_os_str().to_os_string();
    lock_name.push(".lock");
    let lock_path = PathBuf::from(lock_name);
    // The lock is as old as the work on the directory, which may itself be older and being removed.
    let is_old = |path: &Path| path.symlink_metadata().is_ok_and(|meta| age.has(&meta));
    let lock = match Lock::try_existing(&lock_path) {
        Ok(lock) => lock.filter(|lock| lock.was_free() || is_old(&lock_path))?,
        Err(error) if error.is_not_found() && is_old(path) => {
            Lock::try_exclusive(&lock_path).ok()??
        }
        Err(_) => return None,
    };
    Some(Slot {
        path: path.to_path_buf(),
        lock_path,
        _lock: lock,
    })
}
