//! Files on their way into the store whose digest is not known before they are read.
//!
//! They are in a directory of their own in the blobs' staging directory, so that publishing one is
//! a rename. Files that are not published are removed when [`ImportStaging`] is dropped; those that
//! a killed process has left, by the next import or by `gc`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::staging::{self, Slot};
use super::{Age, Garbage, Store};
use crate::host::fs::{self as host_fs, FsError};
use crate::host::unique::unique_name;

/// A directory for files to be imported, which is removed when this is dropped.
#[derive(Debug)]
pub struct ImportStaging {
    slot: Slot,
    files: u64,
}

impl Store {
    /// Creates a directory for files to be imported.
    ///
    /// # Errors
    /// `StoreError::Fs` if a directory or the lock file cannot be created.
    pub fn import_staging(&self) -> Result<ImportStaging, StoreError> {
        self.ensure()?;
        // `gc` reports what cannot be removed.
        self.sweep_import_staging(Age::DAY, &mut Garbage::default());
        let staging = self.layout.blob_staging();
        let slot = Slot::take(&staging, &unique_name())?;
        host_fs::create_dir_all(slot.path())?;
        Ok(ImportStaging { slot, files: 0 })
    }

    /// Removes the directories that killed processes have left; one that another host may still be
    /// working on, only if it is as old as `age`.
    pub(super) fn sweep_import_staging(&self, age: Age, garbage: &mut Garbage) {
        for leftover in staging::abandoned(&self.layout.blob_staging(), age) {
            let listing = fs::read_dir(leftover.path()).into_iter().flatten();
            let sizes = listing.map(|entry| entry?.metadata().map(|meta| meta.len()));
            let sizes: Vec<u64> = sizes.map(|size| size.unwrap_or_default()).collect();
            match fs::remove_dir_all(leftover.path()) {
                // Another process may have removed it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let error = FsError::at("remove", leftover.path())(error);
                    garbage.failures.push(error.into());
                }
                _ => {
                    garbage.files += sizes.len() as u64;
                    garbage.bytes += sizes.iter().sum::<u64>();
                }
            }
        }
    }
}

impl ImportStaging {
    /// Creates an empty file, opened for writing and reading, and returns its path too.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file cannot be created.
    pub fn file(&mut self) -> Result<(PathBuf, File), StoreError> {
        let path = self.next_path();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(FsError::at("create", &path))?;
        Ok((path, file))
    }

    /// Makes a hard link here to a file, so that it can be published and keeps its own name.
    ///
    /// # Errors
    /// The file is on another file system, or on one without hard links.
    pub fn link(&mut self, source: &Path) -> io::Result<PathBuf> {
        let path = self.next_path();
        fs::hard_link(source, &path)?;
        Ok(path)
    }

    fn next_path(&mut self) -> PathBuf {
        let path = self.slot.path().join(self.files.to_string());
        self.files += 1;
        path
    }
}

impl Drop for ImportStaging {
    fn drop(&mut self) {
        // What cannot be removed now is removed later.
        let _ = fs::remove_dir_all(self.slot.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::host_name;
    use crate::store::Layout;

    #[test]
    fn files_that_are_not_published_are_removed_at_the_end_or_after_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Layout::below(directory.path()));
        let mut import_staging = store.import_staging().unwrap();
        let (path, _) = import_staging.file().unwrap();
        // The directory of another process stays while that process works.
        let mut other = store.import_staging().unwrap();
        let (left, _) = other.file().unwrap();
        assert!(path.exists() && left.exists());
        drop(import_staging);
        assert!(!path.exists() && left.exists());

        // Killed: the lock is gone, the files are not.
        let staging = left.parent().unwrap().with_extension("lock");
        assert!(staging.exists());
        let killed = left.parent().unwrap().with_file_name("killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.with_extension("lock"), host_name()).unwrap();
        store.import_staging().unwrap();
        assert!(!killed.exists() && left.exists());
    }
}
