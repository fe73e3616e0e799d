//! Directories on their way in or out.
//!
//! `<staging>/<id>` is the directory and `<staging>/<id>.lock` is held by the process at work on
//! it. A lock that nobody holds marks something left by a killed process. Where that cannot be
//! known, because another host made it or there are no locks, age tells.

use std::path::{Path, PathBuf};

use super::garbage::Age;
use super::lock::Lock;
use crate::host::fs::{self, FsError};

/// The right to a name in a staging folder, for as long as it lives.
#[derive(Debug)]
pub(super) struct Slot {
    lock_path: PathBuf,
    _lock: Lock,
    path: PathBuf,
}

impl Slot {
    /// Takes the name `id` in the folder `staging`, which is made where missing. The directory
    /// itself is not made.
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

    /// The same right, for a directory that is elsewhere.
    pub(super) fn at(mut self, path: &Path) -> Slot {
        self.path = path.to_path_buf();
        self
    }

    /// The place of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The lock file goes only after the directory, so that a leftover is always marked.
        if !self.path.exists() {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

/// Returns the directories in `staging` that nobody works on any more, each with its slot; those
/// of which that is not certain only from `age` on.
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

/// Removes lock files whose directory is gone and that nobody holds. A process that has just
/// made one and not locked it yet goes on without: its directory then counts as abandoned by its
/// age alone.
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
    // The lock is as old as the work; the directory may be one that is being removed.
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
