//! Containers that are copied from another one of the same image, as far as that is what it was
//! when it was made.

use std::io::Write;
use std::path::PathBuf;

use crate::host::file_system::FileSystem;
use crate::oci::ChainId;
use crate::progress::{Progress, Unit};
use crate::rootfs::{RootfsError, TreeFingerprint, copy_unmodified};
use crate::store::{StagedContainer, Store};

/// How many containers are looked at: where the youngest have changed, older ones have as well.
const MAX_TRIES: usize = 3;

/// A container that still has every file of its image.
pub(super) struct CopySource {
    root: PathBuf,
    fingerprint: TreeFingerprint,
}

impl CopySource {
    /// Finds one of the image whose layers make `chain`.
    pub(super) fn find(store: &Store, chain: &ChainId) -> Option<CopySource> {
        store
            .fingerprints(chain)
            .take(MAX_TRIES)
            .filter_map(|(id, fingerprint)| {
                let fingerprint = serde_json::from_reader(fingerprint).ok()?;
                let root = store.layout().container(&id).join("ROOT");
                Some(CopySource { root, fingerprint })
            })
            .find(|source| source.fingerprint.fits(&source.root))
    }

    /// Copies what it has of its image.
    ///
    /// # Errors
    /// Something is changed or removed meanwhile, or cannot be read; the disk is full.
    pub(super) fn copy_to(
        &self,
        staged: &StagedContainer,
        progress: &dyn Progress,
    ) -> Result<(), RootfsError> {
        let task = progress.watch("copying a container of the image", Unit::Bytes);
        copy_unmodified(&self.root, &staged.root(), &self.fingerprint, &*task)
    }
}

/// Lets a container that nobody has run yet serve as a twin. Without that the next one takes
/// longer; so nothing that goes wrong matters.
pub(super) fn remember(store: &Store, staged: &StagedContainer, chain: &ChainId) {
    let directory = &store.layout().containers;
    if !FileSystem::of(directory).is_ok_and(FileSystem::dates_every_change) {
        return;
    }
    if let Ok(Some(fingerprint)) = TreeFingerprint::take(&staged.root()) {
        let write = |file: &mut dyn Write| Ok(serde_json::to_writer(file, &fingerprint)?);
        let _ = store.write_fingerprint(chain, staged.id(), write);
    }
}
