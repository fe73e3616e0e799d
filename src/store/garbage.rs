//! Garbage: files that killed processes have left.
//!
//! These are image directories without `TAG`, blobs that no image links to, unfinished downloads,
//! temporary files and lock files. They are harmless, no listing shows them, and the next pull uses
//! the blobs; [`Store::collect_garbage`] removes them.
//!
//! A pull gives blobs their final names before it writes the image that links to them. So it holds
//! `layers/.pulling` shared, and blobs are removed only while no process does. udocker.py takes no
//! locks; [`Age`] gives it time.

use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::error::StoreError;
use super::images::{IMAGE_FILES, MARKERS, is_of_file_system, linked_names};
use super::{Lock, Store, staging};
use crate::host::fs as host_fs;

/// How long a file must not have changed before it counts as garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl Age {
    /// A day: the age at which work counts as abandoned if its process cannot be checked.
    pub const DAY: Age = Age(Duration::from_secs(24 * 60 * 60));

    /// Whether a file has that age; one from the future has not.
    pub(super) fn has(self, meta: &fs::Metadata) -> bool {
        let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        SystemTime::now()
            .duration_since(changed)
            .map_or(self.0 == Duration::ZERO, |age| age >= self.0)
    }
}

/// Which of the blobs that no image links to are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlinkedBlobs {
    /// None if `layers` and `repos` do not have the same parent directory: then `layers` may serve
    /// several repositories, and images of the others may link to these blobs.
    OfOneRepository,
    /// All.
    All,
}

/// The result of collecting garbage.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Files and links removed.
    pub files: u64,
    /// The bytes of the files removed.
    pub bytes: u64,
    /// Files left because they are young or in use.
    pub kept: u64,
    /// Blobs left because images of another repository may link to them.
    pub maybe_shared: u64,
    /// Files that could not be removed, and directories that could not be read.
    pub failures: Vec<StoreError>,
}

impl Store {
    /// Takes the lock of a pull: while it is held, no other process removes blobs without an image.
    ///
    /// # Errors
    /// `StoreError::Fs` if the lock file cannot be created, opened or locked.
    pub fn begin_pull(&self) -> Result<Lock, StoreError> {
        Ok(Lock::shared(&self.layout.pull_lock())?)
    }

    /// Removes garbage of images and blobs that is as old as `age`. That of containers is
    /// [`Store::abandoned_containers`].
    ///
    /// # Errors
    /// `StoreError::Fs` if a lock file cannot be created, opened or locked. All other failures are
    /// in the result.
    pub fn collect_garbage(
        &self,
        age: Age,
        unlinked: UnlinkedBlobs,
    ) -> Result<Garbage, StoreError> {
        let mut collector = Collector {
            garbage: Garbage::default(),
            age,
        };
        staging::remove_stray_locks(&self.layout.container_staging());
        let pull_lock = Lock::try_exclusive(&self.layout.pull_lock())?;
        let _images = Lock::exclusive(&self.layout.images_lock())?;
        collector.remove_dead_images(&self.layout.repos, &self.layout.repos);
        self.remove_unlinked_files(unlinked, pull_lock.is_some(), &mut collector);
        self.sweep_import_staging(age, &mut collector.garbage);
        for entry in entries(&self.layout.blob_staging()) {
            if self.blobs().is_mark_in_use(&entry.file_name()) {
                continue;
            }
            match Lock::try_existing(&entry.path()) {
                Ok(Some(_unused)) => collector.remove(&entry.path()),
                _ => collector.garbage.kept += 1,
            }
        }
        Ok(collector.garbage)
    }

    /// Removes temporary files from `layers`, and blobs that no image links to; nothing while a
    /// pull is under way, which links to its blobs at its end.
    fn remove_unlinked_files(
        &self,
        unlinked: UnlinkedBlobs,
        no_pulls: bool,
        collector: &mut Collector,
    ) {
        let (mut files, mut blobs) = (Vec::new(), Vec::new());
        for entry in entries(&self.layout.layers).filter(is_file) {
            if is_temporary(&entry) {
                files.push(entry.path());
            } else if !is_hidden(&entry) {
                blobs.push(entry.path());
            }
        }
        // A new repository has no blobs, and may have no `repos` yet.
        if !blobs.is_empty() {
            match linked_names(&self.layout.repos) {
                Ok(linked) => {
                    blobs.retain(|blob| !blob.file_name().is_some_and(|name| linked.contains(name)))
                }
                Err(error) => {
                    collector.garbage.failures.push(error.into());
                    blobs.clear();
                }
            }
        }
        if unlinked == UnlinkedBlobs::OfOneRepository && self.may_share_layers() {
            collector.garbage.maybe_shared = blobs.len() as u64;
            blobs.clear();
        }
        for file in files.iter().chain(&blobs) {
            if no_pulls {
                collector.remove(file);
            } else {
                collector.garbage.kept += 1;
            }
        }
    }

    /// Whether `layers` may serve other repositories too, since it is not beside `repos`.
    fn may_share_layers(&self) -> bool {
        let parent =
            |directory: &Path| Some(directory.canonicalize().ok()?.parent()?.to_path_buf());
        parent(&self.layout.layers) != parent(&self.layout.repos)
    }
}

struct Collector {
    garbage: Garbage,
    age: Age,
}

impl Collector {
    /// Removes a file or link if it is old enough.
    fn remove(&mut self, path: &Path) {
        let Ok(meta) = path.symlink_metadata() else {
            return;
        };
        if !self.age.has(&meta) {
            self.garbage.kept += 1;
        } else if let Err(error) = host_fs::remove_file(path) {
            self.garbage.failures.push(error.into());
        } else {
            self.garbage.files += 1;
            self.garbage.bytes += if meta.is_file() { meta.size() } else { 0 };
        }
    }

    /// Removes the files of an image from all directories below `directory` that are no image.
    fn remove_dead_images(&mut self, repos: &Path, directory: &Path) {
        for entry in entries(directory).filter(is_directory) {
            let path = entry.path();
            if is_of_file_system(repos, &path) {
                continue;
            }
            // Checked first, since removing files inside changes its time.
            let is_old = entry.metadata().is_ok_and(|meta| self.age.has(&meta));
            self.remove_dead_images(repos, &path);
            let is_image = MARKERS.iter().any(|marker| path.join(marker).is_file());
            for part in entries(&path) {
                // A directory of one of these names is a tag, or a part of a repository's name.
                let is_part = is_symlink(&part)
                    || (is_file(&part) && IMAGE_FILES.iter().any(|name| part.file_name() == *name));
                if is_temporary(&part) || (!is_image && is_part) {
                    self.remove(&part.path());
                }
            }
            if !is_image && is_old {
                // A directory that is not empty stays.
                let _ = fs::remove_dir(&path);
            }
        }
    }
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

/// Whether it is a file that `write_atomic` has not renamed.
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
    use crate::store::testing::make_older;
    use crate::store::{Layout, Staging};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

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
    fn files_that_no_image_needs_are_removed_and_all_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let used = blob(&store, b"used");
        let image = publish(&store, "1", std::slice::from_ref(&used));
        let shared = blob(&store, b"only of a dead image");
        let dead = publish(&store, "2", &[used.clone(), shared.clone()]);
        fs::remove_file(dead.join("TAG")).unwrap();
        let orphan = blob(&store, b"orphan");
        fs::write(image.join(".tmp-abc"), "x").unwrap();

        let young = store
            .collect_garbage(HOUR, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert_eq!((young.files, young.bytes), (0, 0), "{young:?}");
        assert!(store.blobs().contains(&orphan, None) && dead.is_dir());

        make_older(directory.path(), HOUR);
        let collected = store
            .collect_garbage(HOUR, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert_eq!(collected.kept, 0);
        assert_eq!(collected.bytes, 20 + 6 + 1 + 2);
        assert!(collected.failures.is_empty(), "{collected:?}");
        assert!(store.blobs().contains(&used, None));
        assert!(!store.blobs().contains(&shared, None) && !store.blobs().contains(&orphan, None));
        assert!(!dead.exists());
        assert_eq!(store.images().len(), 1);
        let again = store
            .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert_eq!((again.files, again.kept), (0, 0), "{again:?}");
    }

    #[test]
    fn images_may_have_names_of_record_files() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let used = [blob(&store, b"used")];
        for tag in ["v1", "v2", "manifest"] {
            publish(&store, tag, &used);
        }
        make_older(directory.path(), HOUR);
        let collected = store
            .collect_garbage(HOUR, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert!(collected.failures.is_empty(), "{collected:?}");
        assert_eq!((collected.files, store.images().len()), (0, 3));
    }

    #[test]
    fn directories_of_the_file_system_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let image = publish(&store, "1", &[blob(&store, b"used")]);
        let repos = &store.layout.repos;
        let [found, snapshot] = ["lost+found", ".snapshot"].map(|name| repos.join(name));
        fs::create_dir(&found).unwrap();
        fs::create_dir_all(snapshot.join("lab")).unwrap();
        fs::rename(&image, snapshot.join("lab/tool")).unwrap();
        assert!(store.images().is_empty());
        // A snapshot may have an incomplete image.
        let manifest = snapshot.join("lab/tool/manifest");
        fs::remove_file(manifest.with_file_name("TAG")).unwrap();
        fs::set_permissions(&found, fs::Permissions::from_mode(0o000)).unwrap();
        let collected = store
            .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        fs::set_permissions(&found, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(collected.failures.is_empty(), "{collected:?}");
        assert!(manifest.exists());
    }

    #[test]
    fn without_the_images_no_blob_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let whole = store(directory.path());
        let used = blob(&whole, b"used");
        publish(&whole, "1", std::slice::from_ref(&used));
        let mistyped = Store::open(Layout {
            repos: directory.path().join("typo"),
            ..whole.layout.clone()
        });
        for unlinked in [UnlinkedBlobs::OfOneRepository, UnlinkedBlobs::All] {
            let collected = mistyped.collect_garbage(NOW, unlinked).unwrap();
            let [failure] = &collected.failures[..] else {
                panic!("{collected:?}");
            };
            assert!(failure.to_string().contains("/typo'"), "{failure}");
            assert!(whole.blobs().contains(&used, None));
        }
        // A new repository has neither.
        fs::remove_file(whole.layout.blob(&used)).unwrap();
        let collected = mistyped.collect_garbage(NOW, UnlinkedBlobs::All).unwrap();
        assert!(collected.failures.is_empty(), "{collected:?}");
    }

    #[test]
    fn blobs_that_another_repository_may_use_are_removed_on_request_only() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| {
            let store = Store::open(Layout {
                layers: directory.path().join("layers"),
                ..Layout::below(&directory.path().join(name))
            });
            store.ensure().unwrap();
            store
        });
        let used = blob(&first, b"used");
        publish(&first, "1", std::slice::from_ref(&used));
        let collected = second
            .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert_eq!((collected.files, collected.maybe_shared), (0, 1));
        assert!(first.blobs().contains(&used, None));
        let collected = second.collect_garbage(NOW, UnlinkedBlobs::All).unwrap();
        assert_eq!((collected.files, collected.maybe_shared), (1, 0));

        // Of symbolic links, the targets count.
        for name in ["repos", "layers"] {
            let place = directory.path().join("elsewhere").join(name);
            fs::create_dir_all(&place).unwrap();
            let link = directory.path().join("linked").join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(place, link).unwrap();
        }
        let linked = Store::open(Layout::below(&directory.path().join("linked")));
        linked.ensure().unwrap();
        blob(&linked, b"orphan");
        let collected = linked
            .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert_eq!((collected.files, collected.maybe_shared), (1, 0));
    }

    #[test]
    fn no_blob_is_removed_while_an_image_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let used = blob(&store, b"used");
        let image = publish(&store, "1", std::slice::from_ref(&used));
        let orphan = blob(&store, b"orphan");
        let allow = |mode| fs::set_permissions(&image, fs::Permissions::from_mode(mode)).unwrap();
        allow(0o300);
        // Root may read it all the same.
        if fs::read_dir(&image).is_err() {
            let other = publish(&store, "2", &[used.clone(), orphan.clone()]);
            let other = store.images().into_iter().find(|i| i.directory == other);
            store.remove_image(&other.unwrap()).unwrap();
            assert_eq!(
                store
                    .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
                    .unwrap()
                    .failures
                    .len(),
                1
            );
            assert!(store.blobs().contains(&used, None) && store.blobs().contains(&orphan, None));
        }
        allow(0o700);
        let collected = store
            .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
            .unwrap();
        assert!(collected.failures.is_empty(), "{collected:?}");
        assert!(store.blobs().contains(&used, None) && !store.blobs().contains(&orphan, None));
    }

    #[test]
    fn blobs_of_a_running_pull_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let pull = store.begin_pull().unwrap();
        let done = blob(&store, b"done");
        let Staging::Needed(coming) = store.blobs().stage(&Digest::of(b"coming"), None).unwrap()
        else {
            panic!("the blob is not there yet");
        };
        assert_eq!(
            store
                .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
                .unwrap()
                .kept,
            2
        );
        assert!(store.blobs().contains(&done, None) && coming.path().exists());
        drop((pull, coming));
        assert_eq!(
            store
                .collect_garbage(NOW, UnlinkedBlobs::OfOneRepository)
                .unwrap()
                .files,
            2
        );
        assert!(!store.blobs().contains(&done, None));
    }
}
