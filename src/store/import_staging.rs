//! Files on their way into the store whose digest is not known before they are read.
//!
//! They lie in a directory of their own in the blobs' staging folder, so that publishing one is a
//! rename. What is not published goes when the holder does; what a killed process left is swept
//! away by the next one that takes something in, or with the garbage.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::staging::{self, Slot};
use super::{Age, Garbage, Store};
use crate::host::fs::{self as host_fs, FsError};
use crate::host::unique::unique_name;

/// Takes files in, until it is dropped.
#[derive(Debug)]
pub struct ImportStaging {
    slot: Slot,
    files: u64,
}

impl Store {
    /// Begins to take files in.
    ///
    /// # Errors
    /// What the file system says.
    pub fn import_staging(&self) -> Result<ImportStaging, StoreError> {
        self.ensure()?;
        // What cannot be removed is told by who collects garbage.
        self.sweep_import_staging(Age::DAY, &mut Garbage::default());
        let staging = self.layout.blob_staging();
        let slot = Slot::take(&staging, &unique_name())?;
        host_fs::create_dir_all(slot.path())?;
        Ok(ImportStaging { slot, files: 0 })
    }

    /// Removes what killed processes took in; where another host may still be at work on it, only
    /// from `age` on.
    pub(super) fn sweep_import_staging(&self, age: Age, garbage: &mut Garbage) {
        for leftover in staging::abandoned(&self.layout.blob_staging(), age) {
            let listing = fs::read_dir(leftover.path()).into_iter().flatten();
            let sizes = listing.map(|entry| entry?.metadata().map(|meta| meta.len()));
            let sizes: Vec<u64> = sizes.map(|size| size.unwrap_or_default()).collect();
            match fs::remove_dir_all(leftover.path()) {
                // Another process may have been faster.
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
    /// Makes a new empty file, to be written and read, and returns where it is.
    ///
    /// # Errors
    /// What the file system says.
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

    /// Gives a file a further name here, so that it can be published and stays where it was.
    ///
    /// # Errors
    /// It is on another file system, or on one that has no such names.
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
        // What cannot be removed now is swept away later.
        let _ = fs::remove_dir_all(self.slot.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::host_name;
    use crate::store::Layout;

    #[test]
    fn what_is_not_published_goes_with_the_holder_or_after_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Layout::below(directory.path()));
        let mut import_staging = store.import_staging().unwrap();
        let (path, _) = import_staging.file().unwrap();
        // Another process's staging directory stays while that is at work.
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
