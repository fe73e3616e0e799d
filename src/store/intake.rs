//! Files on their way into the store whose digest is not known before they are read.
//!
//! They lie in a directory of their own in the blobs' staging folder, so that publishing one is a
//! rename. What is not published goes when the holder does; what a killed process left is swept
//! away by the next one that takes something in, or with the garbage.

use std::fs::File;
use std::path::PathBuf;

use super::error::StoreError;
use super::staging::{self, Slot};
use super::{Age, Store};
use crate::host::fs::{self as host_fs, FsError};
use crate::host::unique::unique_name;

/// Takes files in, until it is dropped.
#[derive(Debug)]
pub struct Intake {
    slot: Slot,
    files: u64,
}

impl Store {
    /// Begins to take files in.
    ///
    /// # Errors
    /// What the file system says.
    pub fn intake(&self) -> Result<Intake, StoreError> {
        self.ensure()?;
        self.sweep_intakes(Age::DAY)?;
        let staging = self.layout.blob_staging();
        let slot = Slot::take(&staging, &unique_name())?;
        host_fs::create_dir_all(slot.path())?;
        Ok(Intake { slot, files: 0 })
    }

    /// Removes what killed processes took in; where another host may still be at work on it, only
    /// from `age` on. Returns how many files that were, and their bytes.
    pub(super) fn sweep_intakes(&self, age: Age) -> Result<(u64, u64), StoreError> {
        let (mut files, mut bytes) = (0, 0);
        for leftover in staging::abandoned(&self.layout.blob_staging(), age) {
            for entry in std::fs::read_dir(leftover.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                files += 1;
                bytes += entry.metadata().map_or(0, |meta| meta.len());
            }
            std::fs::remove_dir_all(leftover.path())
                .map_err(FsError::at("remove", leftover.path()))?;
        }
        Ok((files, bytes))
    }
}

impl Intake {
    /// Makes a new empty file, to be written and read, and returns where it is.
    ///
    /// # Errors
    /// What the file system says.
    pub fn file(&mut self) -> Result<(PathBuf, File), StoreError> {
        let path = self.slot.path().join(self.files.to_string());
        self.files += 1;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(FsError::at("create", &path))?;
        Ok((path, file))
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // What cannot be removed now is swept away later.
        let _ = std::fs::remove_dir_all(self.slot.path());
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
        let mut intake = store.intake().unwrap();
        let (path, _) = intake.file().unwrap();
        // Somebody else's intake stays while he is at work.
        let mut other = store.intake().unwrap();
        let (left, _) = other.file().unwrap();
        assert!(path.exists() && left.exists());
        drop(intake);
        assert!(!path.exists() && left.exists());

        // Killed: the lock is gone, the files are not.
        let staging = left.parent().unwrap().with_extension("lock");
        assert!(staging.exists());
        let killed = left.parent().unwrap().with_file_name("killed");
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.with_extension("lock"), host_name()).unwrap();
        store.intake().unwrap();
        assert!(!killed.exists() && left.exists());
    }
}
