//! The unpacked trees of images, from which containers are cloned.
//!
//! ```text
//! <chain id>@<boot id>/ROOT
//! ```
//! They are kept by default only where files can share blocks, so that a tree takes hardly any room
//! as long as a container has the same files. Nothing writes into a tree: it is made in the staging
//! directory, appears by one rename, and is renamed again before its files are removed. A process
//! that has cloned one checks afterwards that it is still there; then the clone is complete.
//!
//! New files need not be on the disk yet, and a crash could leave them empty, which every later
//! container would inherit. So a tree is used only in the boot in which it was made.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Store;
use super::container_names::ContainerId;
use super::container_staging::StagedContainer;
use super::error::StoreError;
use super::fingerprints::tree_name;
use super::garbage::Age;
use super::staging::Slot;
use crate::host::facts::boot_id;
use crate::host::fs::{self as host_fs, FsError};
use crate::oci::ChainId;

/// How long a tree is kept that is not cloned.
const UNUSED: Age = Age(Duration::from_secs(7 * 24 * 60 * 60));

/// Which of the trees that are young and of this boot are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptTrees {
    /// All.
    All,
    /// Those of images that are listed.
    OfImages,
    /// None.
    None,
}

/// The tree of an image.
#[derive(Debug)]
pub struct ImageTree {
    path: PathBuf,
    /// Held open, so that no other directory can get its inode.
    directory: File,
}

impl ImageTree {
    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.path.join("ROOT")
    }

    /// Whether no process has begun to remove it: then all files read before this call are
    /// complete.
    pub fn is_present(&self) -> bool {
        let (found, own) = (fs::metadata(&self.path), self.directory.metadata());
        matches!((found, own), (Ok(found), Ok(own))
            if (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }

    /// Records that it has just been used.
    pub fn note_use(&self) {
        // Where this fails, the tree is removed earlier, and made again.
        let _ = self.directory.set_modified(SystemTime::now());
    }
}

impl Store {
    /// The tree of the layers with the chain id `chain`, if there is one.
    pub fn image_tree(&self, chain: &ChainId) -> Option<ImageTree> {
        let path = self.image_tree_path(chain)?;
        let directory = File::open(&path).ok()?;
        Some(ImageTree { path, directory })
    }

    /// Publishes a staged directory as the tree of an image; returns it if there is a tree already.
    ///
    /// # Errors
    /// `StoreError::Fs` if the directory cannot be renamed, or the one above it not created.
    pub fn publish_image_tree(
        &self,
        chain: &ChainId,
        staged: StagedContainer,
    ) -> Result<Option<StagedContainer>, StoreError> {
        let Some(path) = self.image_tree_path(chain) else {
            return Ok(Some(staged));
        };
        host_fs::create_dir_all(&self.layout.image_trees())?;
        match fs::rename(staged.path(), &path) {
            Ok(()) => Ok(None),
            Err(_) if path.exists() => Ok(Some(staged)),
            Err(error) => Err(FsError::at("rename to", &path)(error).into()),
        }
    }

    /// Takes trees out that are of no more use: those of other boots, those not used for a week,
    /// and those that `kept` excludes. Returns each, to be removed, or the reason why it stays.
    pub fn retire_image_trees(&self, kept: KeptTrees) -> Vec<Result<StagedContainer, StoreError>> {
        let Ok(entries) = fs::read_dir(self.layout.image_trees()) else {
            return Vec::new();
        };
        let boot = boot_id();
        let mut of_images = None;
        let mut retired = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.split_once('@'));
            let is_used = entry.metadata().is_ok_and(|meta| !UNUSED.has(&meta));
            let is_kept = match (name, &boot) {
                (Some((digest, its_boot)), Some(boot)) if is_used && its_boot == boot => match kept
                {
                    KeptTrees::All => true,
                    KeptTrees::OfImages => of_images
                        .get_or_insert_with(|| self.chains())
                        .contains(digest),
                    KeptTrees::None => false,
                },
                _ => false,
            };
            if !is_kept {
                retired.extend(self.retire(&entry.path()).transpose());
            }
        }
        retired
    }

    /// Takes a tree out and returns it, to be removed; `None` if another process has done so.
    ///
    /// # Errors
    /// `StoreError::Fs` if the tree cannot be renamed, or the lock file not created.
    pub fn retire_image_tree(
        &self,
        tree: &ImageTree,
    ) -> Result<Option<StagedContainer>, StoreError> {
        if tree.is_present() {
            self.retire(&tree.path)
        } else {
            Ok(None)
        }
    }

    /// The chain ids of all images.
    fn chains(&self) -> BTreeSet<String> {
        let images = self.images().into_iter();
        let contents = images.filter_map(|image| image.content().ok());
        contents
            .filter_map(|content| Some(content.chain_id()?.0.to_string()))
            .collect()
    }

    fn retire(&self, path: &Path) -> Result<Option<StagedContainer>, StoreError> {
        let id = ContainerId::random();
        let slot = Slot::take(&self.layout.container_staging(), id.as_str())?;
        match host_fs::rename(path, slot.path()) {
            Ok(()) => Ok(Some(StagedContainer::new(id, slot))),
            // Another process has taken it out.
            Err(error) if error.is_not_found() => Ok(None),
            // An overlay file system returns this for directories of its lower layers. They may
            // stay: they take no room in the upper layer, and other processes may be reading them.
            Err(error) if error.crosses_devices() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn image_tree_path(&self, chain: &ChainId) -> Option<PathBuf> {
        Some(self.layout.image_trees().join(tree_name(chain)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{DiffId, Digest};
    use crate::store::testing::store;

    fn chain(text: &str) -> ChainId {
        ChainId::of(&[DiffId(Digest::of(text.as_bytes()))]).unwrap()
    }

    fn publish(store: &Store, chain: &ChainId) -> Option<StagedContainer> {
        let staged = store.stage_container().unwrap();
        store.publish_image_tree(chain, staged).unwrap()
    }

    #[test]
    fn image_tree_is_found_by_chain_id_until_retired() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        assert!(store.image_tree(&chain("a")).is_none());
        assert!(publish(&store, &chain("a")).is_none());
        assert!(
            publish(&store, &chain("a")).is_some(),
            "there is one already"
        );
        let tree = store.image_tree(&chain("a")).unwrap();
        assert!(tree.root().is_dir() && tree.is_present());
        assert!(store.image_tree(&chain("b")).is_none());
        assert!(store.containers().is_empty());

        assert!(store.retire_image_trees(KeptTrees::All).is_empty());
        // No image has these layers.
        assert_eq!(store.retire_image_trees(KeptTrees::OfImages).len(), 1);
        assert!(!tree.is_present());
        assert!(store.image_tree(&chain("a")).is_none());
        // Nor is it mistaken for the next one.
        assert!(publish(&store, &chain("a")).is_none());
        assert!(!tree.is_present());
        assert_eq!(store.retire_image_trees(KeptTrees::None).len(), 1);
    }

    #[test]
    fn trees_of_other_boots_and_unused_trees_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for text in ["old", "unused", "used", "other"] {
            assert!(publish(&store, &chain(text)).is_none());
        }
        let path = |text: &str| store.image_tree_path(&chain(text)).unwrap();
        let other = path("other").with_file_name(format!("{}@0b9c", chain("other").0));
        fs::rename(path("other"), &other).unwrap();
        assert!(store.image_tree(&chain("other")).is_none());
        let week_ago = SystemTime::now() - UNUSED.0 - Duration::from_secs(1);
        for text in ["unused", "used"] {
            File::open(path(text))
                .unwrap()
                .set_modified(week_ago)
                .unwrap();
        }
        store.image_tree(&chain("used")).unwrap().note_use();
        drop(store.retire_image_trees(KeptTrees::All));
        assert!(!other.exists() && !path("unused").exists());
        assert!(path("old").exists() && path("used").exists());
    }
}
