//! What nothing refers to any more.
//!
//! Killed processes leave image directories without `TAG`, blobs that no image links to, blobs
//! half downloaded, temporary files and lock files. All of them are outside the listings and
//! harmless, and the next pull makes use of the blobs; [`Store::collect_garbage`] removes them.
//!
//! Pulls put blobs under their names before the image that links to them. So a pull holds
//! `layers/.pulling` shared, and blobs go only while nobody does. udocker.py holds nothing: it is
//! left the time that [`Age`] gives.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::StoreError;
use super::images::IMAGE_FILES;
use super::{Lock, Store, staging};
use crate::host::fs as host_fs;

/// How long something must not have changed before it counts as left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl Age {
    /// A day: what commands give to work of which they cannot know whether it goes on.
    pub const DAY: Age = Age(Duration::from_secs(24 * 60 * 60));

    /// Whether a file is of that age; one from the future is young.
    pub(super) fn has(self, meta: &fs::Metadata) -> bool {
        let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        SystemTime::now()
            .duration_since(changed)
            .map_or(self.0 == Duration::ZERO, |age| age >= self.0)
    }
}

/// What was removed and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Files and links removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files left because they are young or in use.
    pub kept: u64,
}

impl Store {
    /// Says that blobs are coming in whose image is not there yet, for as long as the lock is held.
    ///
    /// # Errors
    /// The lock file cannot be made or opened.
    pub fn begin_pull(&self) -> Result<Lock, StoreError> {
        Ok(Lock::shared(&self.layout.pull_lock())?)
    }

    /// Removes what no image and no process has a use for, of images and blobs; staged containers
    /// are [`Store::abandoned_containers`]. Nothing younger than `age` goes.
    ///
    /// # Errors
    /// The repository cannot be written.
    pub fn collect_garbage(&self, age: Age) -> Result<Garbage, StoreError> {
        let mut collector = Collector {
            garbage: Garbage::default(),
            age,
        };
        staging::remove_stray_locks(&self.layout.container_staging());
        let pulls = Lock::try_exclusive(&self.layout.pull_lock())?;
        let _images = Lock::exclusive(&self.layout.images_lock())?;
        collector.remove_dead_images(&self.layout.repos)?;
        let linked = linked_names(&self.layout.repos);
        for entry in entries(&self.layout.layers) {
            let is_blob = is_file(&entry) && !is_hidden(&entry);
            if is_temporary(&entry) || (is_blob && !linked.contains(&entry.file_name())) {
                if pulls.is_some() {
                    collector.remove(&entry.path())?;
                } else {
                    collector.garbage.kept += 1;
                }
            }
        }
        let (files, bytes) = self.sweep_intakes(age)?;
        collector.garbage.files += files;
        collector.garbage.bytes += bytes;
        for entry in entries(&self.layout.blob_staging()) {
            match Lock::try_existing(&entry.path()) {
                Ok(Some(_unused)) => collector.remove(&entry.path())?,
                _ => collector.garbage.kept += 1,
            }
        }
        Ok(collector.garbage)
    }
}

struct Collector {
    garbage: Garbage,
    age: Age,
}

impl Collector {
    /// Removes a file or link that is old enough.
    fn remove(&mut self, path: &Path) -> Result<(), StoreError> {
        let Ok(meta) = path.symlink_metadata() else {
            return Ok(());
        };
        if !self.age.has(&meta) {
            self.garbage.kept += 1;
            return Ok(());
        }
        host_fs::remove_file(path)?;
        self.garbage.files += 1;
        self.garbage.bytes += if meta.is_file() { meta.size() } else { 0 };
        Ok(())
    }

    /// Removes, below `directory`, what belongs to an image in directories that are none.
    fn remove_dead_images(&mut self, directory: &Path) -> Result<(), StoreError> {
        for entry in entries(directory).filter(is_directory) {
            let path = entry.path();
            self.remove_dead_images(&path)?;
            let is_image = path.join("TAG").exists() || path.join("PROTECT").exists();
            for part in entries(&path) {
                let is_part =
                    is_symlink(&part) || IMAGE_FILES.iter().any(|name| part.file_name() == *name);
                if is_temporary(&part) || (!is_image && is_part) {
                    self.remove(&part.path())?;
                }
            }
            if !is_image && entry.metadata().is_ok_and(|meta| self.age.has(&meta)) {
                // One that still holds something stays.
                let _ = fs::remove_dir(&path);
            }
        }
        Ok(())
    }
}

/// The names in `layers/` that links anywhere in `directory` lead to.
fn linked_names(directory: &Path) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in entries(&directory) {
            if is_directory(&entry) {
                waiting.push(entry.path());
            } else if let Ok(target) = fs::read_link(entry.path()) {
                names.extend(target.file_name().map(OsString::from));
            }
        }
    }
    names
}

fn entries(directory: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn is_symlink(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_symlink())
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_file())
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

/// Whether it is what `write_atomic` had not renamed yet.
fn is_temporary(entry: &DirEntry) -> bool {
    is_file(entry)
        && entry
            .file_name()
            .to_string_lossy()
            .starts_with(host_fs::TEMPORARY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, LocalName};
    use crate::store::{Layout, Staging};

    const NOW: Age = Age(Duration::ZERO);
    const HOUR: Age = Age(Duration::from_secs(3600));

    fn store(directory: &Path) -> Store {
        let store = Store::open(Layout::below(directory));
        store.ensure().unwrap();
        store
    }

    fn blob(store: &Store, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        fs::write(store.layout.blob(&digest), content).unwrap();
        digest
    }

    fn publish(store: &Store, tag: &str, blobs: &[Digest]) -> PathBuf {
        let name = LocalName {
            repository: "lab/tool".to_string(),
            tag: tag.to_string(),
        };
        store.publish_image(&name, b"{}", blobs).unwrap().directory
    }

    #[test]
    fn what_no_image_needs_goes_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let used = blob(&store, b"used");
        let image = publish(&store, "1", std::slice::from_ref(&used));
        let shared = blob(&store, b"only of a dead image");
        let dead = publish(&store, "2", &[used.clone(), shared.clone()]);
        fs::remove_file(dead.join("TAG")).unwrap();
        let orphan = blob(&store, b"orphan");
        fs::write(image.join(".tmp-abc"), "x").unwrap();

        let young = store.collect_garbage(HOUR).unwrap();
        assert_eq!((young.files, young.bytes), (0, 0), "{young:?}");
        assert!(store.blobs().contains(&orphan) && dead.is_dir());

        let collected = store.collect_garbage(NOW).unwrap();
        assert_eq!(collected.kept, 0);
        assert_eq!(collected.bytes, 20 + 6 + 1 + 2);
        assert!(store.blobs().contains(&used));
        assert!(!store.blobs().contains(&shared) && !store.blobs().contains(&orphan));
        assert!(!dead.exists());
        assert_eq!(store.images().len(), 1);
        assert_eq!(store.collect_garbage(NOW).unwrap(), Garbage::default());
    }

    #[test]
    fn blobs_of_a_pull_under_way_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let pull = store.begin_pull().unwrap();
        let done = blob(&store, b"done");
        let Staging::Needed(coming) = store.blobs().stage(&Digest::of(b"coming")).unwrap() else {
            panic!("it is not there");
        };
        assert_eq!(store.collect_garbage(NOW).unwrap().kept, 2);
        assert!(store.blobs().contains(&done) && coming.path().exists());
        drop((pull, coming));
        assert_eq!(store.collect_garbage(NOW).unwrap().files, 2);
        assert!(!store.blobs().contains(&done));
    }
}
