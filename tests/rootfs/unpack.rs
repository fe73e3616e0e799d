//! Applying layers in tests.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use udocker::oci::{DiffId, Digest};
use udocker::progress::Silent;
use udocker::rootfs::{ApplyOptions, Layer, RootfsError, Summary, apply_layers};

/// A directory with a root in it, and a place outside that has to stay as it is.
pub(crate) struct Unpacked {
    pub(crate) scratch: TempDir,
    pub(crate) root: PathBuf,
}

impl Unpacked {
    pub(crate) fn empty() -> Unpacked {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        Unpacked { scratch, root }
    }
}

/// Applies layers, checking their digests, to a new root.
pub(crate) fn apply(layers: &[Vec<u8>]) -> (Unpacked, Result<Summary, RootfsError>) {
    let unpacked = Unpacked::empty();
    let result = apply_to(&unpacked.root, layers);
    (unpacked, result)
}

/// Applies layers that are good.
pub(crate) fn unpack(layers: &[Vec<u8>]) -> Unpacked {
    let (unpacked, result) = apply(layers);
    result.unwrap();
    unpacked
}

pub(crate) fn apply_to(root: &Path, layers: &[Vec<u8>]) -> Result<Summary, RootfsError> {
    apply_limited(root, layers, ApplyOptions::default())
}

pub(crate) fn apply_limited(
    root: &Path,
    layers: &[Vec<u8>],
    limits: ApplyOptions,
) -> Result<Summary, RootfsError> {
    let layers = layers.iter().enumerate().map(|(index, bytes)| {
        Ok::<_, RootfsError>(Layer {
            name: format!("L{index}"),
            source: Box::new(&bytes[..]),
            diff_id: Some(DiffId(Digest::of(bytes))),
            size: Some(bytes.len() as u64),
        })
    });
    apply_layers(root, layers, limits, &Silent)
}
