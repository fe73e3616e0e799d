//! Kept trees of images, of which further containers are copies.

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
    /// They are not kept.
    #[default]
    Never,
    /// They are kept where files can share blocks, so that they take hardly any space.
    Shared,
    /// They are kept everywhere, also as a copy that takes as much space as a container.
    Always,
}

/// Fills the root of a container with a copy of the tree of its image. A damaged tree is removed.
///
/// # Errors
/// The tree cannot be read, or is removed meanwhile; the disk is full. The root then stays as it
/// is.
pub(super) fn fill(
    store: &Store,
    root: &Path,
    tree: &ImageTree,
    progress: &dyn Progress,
) -> Result<(), ContainerError> {
    tree.note_use();
    let task = progress.watch("copying the image's tree", Unit::Bytes);
    if let Err(error) = copy_root(&tree.root(), root, &*task) {
        // If only space for the copy is short, the tree is not damaged.
        if !error.is_shortage()
            && let Some(retired) = store.retire_image_tree(tree)?
        {
            discard(&retired)?;
        }
        return Err(error.into());
    }
    // If another process has begun to remove the tree, the copy may lack files.
    if tree.is_present() {
        Ok(())
    } else {
        let removed = io::ErrorKind::NotFound.into();
        Err(FsError::at("read", &tree.root())(removed).into())
    }
}

/// The decision to keep the tree of an image that is about to be unpacked.
pub(super) struct Keep {
    chain: ChainId,
    /// Whether the tree will share blocks with the container.
    pub(super) shares_blocks: bool,
}

impl Keep {
    /// Decides whether the tree of the image with the chain id `chain` is kept.
    pub(super) fn plan(store: &Store, trees: ImageTrees, chain: ChainId) -> Option<Keep> {
        let directory = &store.layout().containers;
        // A kept tree belongs to one boot of one host.
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

    /// Keeps a copy of the root of a new container. Errors are ignored, since without a kept tree
    /// the next container only takes longer.
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
            // A tree that cannot be published is removed by the next sweep.
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

/// Removes kept trees of images, except for `kept`, and fingerprints of containers that do not
/// exist any more. Returns the errors for those that stay.
pub fn sweep_image_trees(store: &Store, kept: KeptTrees) -> Vec<ContainerError> {
    let trees = store.retire_image_trees(kept).into_iter();
    let swept = trees.map(|tree| discard(&tree?));
    let mut failures: Vec<ContainerError> = swept.filter_map(Result::err).collect();
    failures.extend(store.sweep_fingerprints().err().map(ContainerError::from));
    failures
}
