//! Copying another container of the same image, instead of unpacking the image, as long as that
//! container still has the image's files unchanged.

use std::io::Write;
use std::path::PathBuf;

use crate::host::file_system::FileSystem;
use crate::oci::ChainId;
use crate::progress::{Progress, Unit};
use crate::rootfs::{RootfsError, TreeFingerprint, copy_unmodified};
use crate::store::{StagedContainer, Store};

/// The number of containers that are tried. If the newest have changed, older ones
/// probably have, too.
const MAX_TRIES: usize = 3;

/// A container that has every file of its image, unchanged.
pub(super) struct CopySource {
    root: PathBuf,
    fingerprint: TreeFingerprint,
}

impl CopySource {
    /// Finds such a container of the image with the chain id `chain`.
    pub(super) fn find(store: &Store, chain: &ChainId) -> Option<CopySource> {
        store
            .fingerprints(chain)
            .take(MAX_TRIES)
            .filter_map(|(id, fingerprint)| {
                let fingerprint = serde_json::from_reader(fingerprint).ok()?;
                let root = store.layout().container_root(&id);
                Some(CopySource { root, fingerprint })
            })
            .find(|source| source.fingerprint.fits(&source.root))
    }

    /// Copies the files of the image to a new container.
    ///
    /// # Errors
    /// A file is changed or removed meanwhile, or cannot be read; the disk is full.
    pub(super) fn copy_to(
        &self,
        staged: &StagedContainer,
        progress: &dyn Progress,
    ) -> Result<(), RootfsError> {
        let task = progress.watch("copying a container of the image", Unit::Bytes);
        copy_unmodified(&self.root, &staged.root(), &self.fingerprint, &*task)
    }
}

/// Takes the fingerprint of a new container, so that further ones can be copied from it. Errors are
/// ignored, since without a fingerprint the next container only takes longer.
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
