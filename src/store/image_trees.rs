//! The trees that images unpack to, from which further containers are cloned.
//!
//! ```text
//! <chain id>@<boot id>/ROOT
//! ```
//! They are there only where files can share blocks, so that a tree takes next to no room as long
//! as a container has the same files. Nothing writes into one: it is made in the staging folder,
//! appears by one rename, and is taken out by another before its files go. Who clones one looks
//! afterwards whether it is still there, and has all of it if so.
//!
//! What has just been written need not be on the disk yet, and a crash would leave files empty that
//! every later container would inherit. So a tree is used only in the boot in which it was made.

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

/// How long a tree is kept that nobody clones.
const UNUSED: Age = Age(Duration::from_secs(7 * 24 * 60 * 60));

/// Which trees stay, of those that are of use at all.
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
    /// Held open, so that no other can have its inode.
    directory: File,
}

impl ImageTree {
    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.path.join("ROOT")
    }

    /// Whether nobody has begun to remove it: whoever has read it before this has read all of it.
    pub fn is_present(&self) -> bool {
        let (found, own) = (fs::metadata(&self.path), self.directory.metadata());
        matches!((found, own), (Ok(found), Ok(own))
            if (found.dev(), found.ino()) == (own.dev(), own.ino()))
    }

    /// Notes that somebody has had use for it.
    pub fn note_use(&self) {
        // Without that it is only thought unused, and made again.
        let _ = self.directory.set_modified(SystemTime::now());
    }
}

impl Store {
    /// The tree of the image whose layers make `chain`, if there is one.
    pub fn image_tree(&self, chain: &ChainId) -> Option<ImageTree> {
        let path = self.image_tree_path(chain)?;
        let directory = File::open(&path).ok()?;
        Some(ImageTree { path, directory })
    }

    /// Keeps what was made in the staging folder as the tree of an image; gives it back where
    /// there is one already.
    ///
    /// # Errors
    /// What the file system says.
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

    /// Takes trees out that are of no more use, and hands each over for removal, or says why it
    /// stays: those of other boots, those that nobody has used for a week, and what `kept` leaves
    /// out.
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

    /// Takes a tree out, and hands it over for removal, unless that has been done already.
    ///
    /// # Errors
    /// What the file system says.
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
            // Another process was faster.
            Err(error) if error.is_not_found() => Ok(None),
            // So answers an overlay file system, of directories of its lower layers. It takes no
            // room to leave them there, and where they are, others may be reading them.
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
    fn a_tree_is_found_by_its_chain_until_it_is_retired() {
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
    fn trees_of_other_boots_and_unused_ones_go() {
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
