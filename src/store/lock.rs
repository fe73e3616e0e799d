//! Advisory locks.
//!
//! Where the file system has none (some NFS and Lustre mounts), a lock is had at once and
//! protects nothing; the store is correct without, by unique names and atomic renames, and only
//! does some work twice. Other mounts keep locks to their host. So that a lock is not held proves
//! something only on the host where it was taken, see [`Lock::sign`].

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::host::facts::host_name;
use crate::host::fs::FsError;

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Whether the file system knows locks at all.
    is_real: bool,
}

impl Lock {
    /// Waits until nobody else holds the lock file at `path`, which is made where missing.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn exclusive(path: &Path) -> Result<Lock, FsError> {
        Lock::wait(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody holds the lock exclusively; others may share it.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn shared(path: &Path) -> Result<Lock, FsError> {
        Lock::wait(path, FlockOperation::LockShared)
    }

    /// Takes the lock only if nobody holds it.
    ///
    /// # Errors
    /// The file cannot be made or opened.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>, FsError> {
        try_acquire(open(path)?, path)
    }

    /// Takes the lock of a file that must be there already, only if nobody holds it.
    pub(super) fn try_existing(path: &Path) -> Result<Option<Lock>, FsError> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)
            .map_err(FsError::at("open lock file", path))?;
        try_acquire(file, path)
    }

    fn wait(path: &Path, operation: FlockOperation) -> Result<Lock, FsError> {
        let lock = acquire(open(path)?, operation);
        lock.map_err(|errno| FsError::at("lock", path)(errno.into()))
    }

    /// Writes into the lock file which host took the lock. Without it, others only know less.
    pub(super) fn sign(&self) {
        let _ = self.file.set_len(0);
        let _ = (&self.file).write_all(host_name().as_bytes());
    }

    /// Whether nobody has held the lock when it was taken: not where there are no locks, nor
    /// where another host, of whose locks nothing is known here, has signed it.
    pub(super) fn was_free(&self) -> bool {
        let mut signature = String::new();
        self.is_real
            && (&self.file).read_to_string(&mut signature).is_ok()
            && signature == host_name()
    }
}

fn open(path: &Path) -> Result<File, FsError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        // Whoever may write to the repository may hold its locks: the umask says who.
        .mode(0o666)
        // Somebody's link would have a file made elsewhere.
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(FsError::at("open lock file", path))
}

/// Takes the lock of `file` unless another process holds it.
fn try_acquire(file: File, path: &Path) -> Result<Option<Lock>, FsError> {
    match acquire(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(lock) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(FsError::at("lock", path)(errno.into())),
    }
}

fn acquire(file: File, operation: FlockOperation) -> Result<Lock, Errno> {
    let is_real = match retry_on_intr(|| flock(&file, operation)) {
        Ok(()) => true,
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK | Errno::INVAL) => false,
        Err(errno) => return Err(errno),
    };
    Ok(Lock { file, is_real })
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

    #[test]
    fn a_link_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (directory.path().join("lock"), directory.path().join("x"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(Lock::exclusive(&path).is_err() && !elsewhere.exists());
        std::fs::write(&elsewhere, "").unwrap();
        assert!(Lock::try_existing(&path).is_err());
    }

    #[test]
    fn only_a_lock_of_this_host_is_known_to_be_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        Lock::exclusive(&path).unwrap().sign();
        assert!(Lock::try_existing(&path).unwrap().unwrap().was_free());
        for signature in ["", "another-host"] {
            std::fs::write(&path, signature).unwrap();
            assert!(!Lock::try_existing(&path).unwrap().unwrap().was_free());
        }
    }
}
