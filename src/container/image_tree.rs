//! Containers that are clones of the tree their image unpacks to.

use std::io;
use std::path::Path;

use super::ContainerError;
use super::remove::discard;
use crate::host::file_system::{FileSystem, can_share_blocks};
use crate::host::fs::FsError;
use crate::oci::ChainId;
use crate::progress::{Progress, Unit};
use crate::rootfs::copy_root;
use crate::store::{ImageTree, KeptTrees, StagedContainer, Store};

/// Whether the trees of images are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageTrees {
    /// No.
    #[default]
    Never,
    /// Where files can share blocks, so that they take next to no room.
    Shared,
    /// Also where each is a copy, as large as a container.
    Always,
}

/// Fills the root of a container from the tree of its image. A tree that is damaged is removed.
///
/// # Errors
/// The tree cannot be read, or is removed meanwhile; the root is then left as it is.
pub(super) fn fill(
    store: &Store,
    root: &Path,
    tree: &ImageTree,
    progress: &dyn Progress,
) -> Result<(), ContainerError> {
    tree.note_use();
    let task = progress.watch("copying the image's tree", Unit::Bytes);
    if let Err(error) = copy_root(&tree.root(), root, &*task) {
        // Where there is too little room for the copy, the tree is as good as before.
        if !error.is_shortage()
            && let Some(retired) = store.retire_image_tree(tree)?
        {
            discard(&retired)?;
        }
        return Err(error.into());
    }
    // What another process has begun to remove was not all there.
    if tree.is_present() {
        Ok(())
    } else {
        let removed = io::ErrorKind::NotFound.into();
        Err(FsError::at("read", &tree.root())(removed).into())
    }
}

/// A tree that is to be kept for further containers of an image that is about to be unpacked.
pub(super) struct Keep {
    chain: ChainId,
    /// Whether it will have the same blocks as the container.
    pub(super) shares_blocks: bool,
}

impl Keep {
    /// Decides whether one is to be kept, of the image whose layers make `chain`.
    pub(super) fn plan(store: &Store, trees: ImageTrees, chain: ChainId) -> Option<Keep> {
        let directory = &store.layout().containers;
        // What several hosts see belongs to none of their boots.
        let is_local = || FileSystem::of(directory).is_ok_and(|system| !system.is_shared());
        let shares_blocks = || can_share_blocks(directory).is_ok();
        let keep = |shares_blocks| Keep {
            chain,
            shares_blocks,
        };
        match trees {
            ImageTrees::Shared if is_local() && shares_blocks() => Some(keep(true)),
            ImageTrees::Always if is_local() => Some(keep(shares_blocks())),
            _ => None,
        }
    }

    /// Keeps a copy of the root of a container that nobody has run yet. Without it the next one
    /// takes longer; so nothing that goes wrong matters.
    pub(super) fn carry_out(
        &self,
        store: &Store,
        staged: &StagedContainer,
        progress: &dyn Progress,
    ) {
        if store.image_tree(&self.chain).is_some() {
            return;
        }
        let Ok(tree) = store.stage_container() else {
            return;
        };
        let task = progress.watch("keeping the image's tree", Unit::Bytes);
        let left = match copy_root(&staged.root(), &tree.root(), &*task) {
            // What cannot be published is found by whoever sweeps the staging folder next.
            Ok(()) => store
                .publish_image_tree(&self.chain, tree)
                .unwrap_or_default(),
            Err(_) => Some(tree),
        };
        if let Some(left) = left {
            let _ = discard(&left);
        }
    }
}

/// Removes the trees of images that are of no more use, beside those that are to be kept; and what
/// is remembered of containers that are gone. Returns why something of that stays.
pub fn sweep_image_trees(store: &Store, kept: KeptTrees) -> Vec<ContainerError> {
    let trees = store.retire_image_trees(kept).into_iter();
    let swept = trees.map(|tree| discard(&tree?));
    let mut failures: Vec<ContainerError> = swept.filter_map(Result::err).collect();
    failures.extend(store.sweep_fingerprints().err().map(ContainerError::from));
    failures
}
