//! Advisory locks.
//!
//! Some file systems have no locks (some NFS and Lustre mounts). There a lock is taken at once and
//! protects nothing: the store stays correct by unique names and atomic renames, and only does some
//! work twice. On other mounts, locks are visible only to their own host. So a lock that can be
//! taken proves that no process works on something only on the host that signed it, see
//! [`Lock::sign`].

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::host::facts::host_name;
use crate::host::fs::FsError;

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Whether the file system has locks.
    is_real: bool,
}

impl Lock {
    /// Waits until no other process holds the lock file at `path`, which is created if missing.
    ///
    /// # Errors
    /// The file cannot be created, opened or locked.
    pub fn exclusive(path: &Path) -> Result<Lock, FsError> {
        Lock::wait(path, FlockOperation::LockExclusive)
    }

    /// Waits until no other process holds the lock exclusively; others may share it.
    ///
    /// # Errors
    /// The file cannot be created, opened or locked.
    pub fn shared(path: &Path) -> Result<Lock, FsError> {
        Lock::wait(path, FlockOperation::LockShared)
    }

    /// Takes the lock only if no other process holds it.
    ///
    /// # Errors
    /// The file cannot be created, opened or locked.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>, FsError> {
        try_acquire(open(path)?, path)
    }

    /// Takes the lock of a file that exists already, only if no other process holds it.
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

    /// Writes the name of this host into the lock file. If that fails, only the file's age shows
    /// whether the lock was left by a killed process.
    pub(super) fn sign(&self) {
        let _ = self.file.set_len(0);
        let _ = (&self.file).write_all(host_name().as_bytes());
    }

    /// Whether it is certain that no process held the lock when it was taken. It is not where there
    /// are no locks, nor where another host has signed the file, whose locks may not be visible.
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
        // All users who may write to the repository may hold its locks; the umask decides.
        .mode(0o666)
        // A link from another user could have a file created elsewhere.
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
    fn a_held_lock_is_not_taken_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn symlinked_lock_file_is_refused() {
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
