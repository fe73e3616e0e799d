//! Advisory locks.
//!
//! Where the file system has none (some NFS and Lustre mounts), a lock is had at once and
//! protects nothing; the store is correct without, by unique names and atomic renames, and only
//! does some work twice.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::host::fs::FsError;

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock file at `path`, which is made where missing.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn exclusive(path: &Path) -> Result<Lock, FsError> {
        let file = open(path)?;
        acquire(&file, path, FlockOperation::LockExclusive)?;
        Ok(Lock { _file: file })
    }

    /// Waits until nobody holds the lock exclusively; others may share it.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn shared(path: &Path) -> Result<Lock, FsError> {
        let file = open(path)?;
        acquire(&file, path, FlockOperation::LockShared)?;
        Ok(Lock { _file: file })
    }

    /// Takes the lock only if nobody holds it.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>, FsError> {
        let file = open(path)?;
        let taken = acquire(&file, path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(taken.then_some(Lock { _file: file }))
    }

    /// Takes the lock of a file that must be there already, only if nobody holds it.
    pub(super) fn try_existing(path: &Path) -> Result<Option<Lock>, FsError> {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(FsError::at("open lock file", path))?;
        let taken = acquire(&file, path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(taken.then_some(Lock { _file: file }))
    }
}

fn open(path: &Path) -> Result<File, FsError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(FsError::at("open lock file", path))
}

/// Returns whether the lock is held now; only the non-blocking kind can say no.
fn acquire(file: &File, path: &Path, operation: FlockOperation) -> Result<bool, FsError> {
    loop {
        return match flock(file, operation) {
            Ok(()) => Ok(true),
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK | Errno::INVAL) => Ok(true),
            Err(errno) => Err(FsError::at("lock", path)(errno.into())),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_not_had_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }
}
