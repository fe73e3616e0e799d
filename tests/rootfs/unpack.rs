//! Applies layers in tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use udocker::oci::{DiffId, Digest};
use udocker::progress::Silent;
use udocker::rootfs::{ApplyOptions, Layer, RootfsError, Summary, apply_layers};

use crate::support::layer_builder::LayerBuilder;
use crate::support::sandbox::make_removable;
use crate::support::tree::{self, Tree};

/// A directory with a rootfs in it, and room beside it for files that must not change.
pub(crate) struct Unpacked {
    pub(crate) scratch: TempDir,
    pub(crate) root: PathBuf,
}

impl Unpacked {
    pub(crate) fn empty() -> Unpacked {
        Unpacked::empty_in(&std::env::temp_dir())
    }

    pub(crate) fn empty_in(directory: &Path) -> Unpacked {
        let scratch = tempfile::tempdir_in(directory).unwrap();
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        Unpacked { scratch, root }
    }
}

/// Applies layers to a new rootfs sequentially, and to another one with prefetching, and fails
/// unless both give the same result and tree. Digests are checked.
pub(crate) fn apply_both_ways_and_compare(
    layers: &[Vec<u8>],
) -> (Unpacked, Result<Summary, RootfsError>) {
    let unpacked = Unpacked::empty();
    let result = apply_to(&unpacked.root, layers);
    let ahead = Unpacked::empty();
    let again = apply_ahead(&ahead, layers, ApplyOptions::default());
    assert_eq!(text(&again), text(&result));
    if result.is_ok() {
        assert_eq!(dated(&ahead.root), dated(&unpacked.root));
        let left = fs::read_dir(ahead.scratch.path()).unwrap();
        assert_eq!(left.count(), 1, "something beside the root");
    }
    make_removable(ahead.scratch.path());
    (unpacked, result)
}

/// The result of applying layers, as text.
pub(crate) fn text(result: &Result<Summary, RootfsError>) -> String {
    match result {
        Ok(summary) => format!("{summary:?}"),
        Err(error) => error.to_string(),
    }
}

/// The tree without times of the last hour, which come from implied directories.
fn dated(root: &Path) -> Tree {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hour_ago = i64::try_from(now.as_secs()).unwrap() - 3600;
    let mut tree = tree::read(root);
    for node in tree.values_mut() {
        if node.mtime.0 > hour_ago {
            node.mtime = (0, 0);
        }
    }
    tree
}

/// Applies layers with prefetching, whatever the number of processors. An empty layer comes first,
/// since the first layer is never prefetched.
pub(crate) fn apply_ahead(
    unpacked: &Unpacked,
    layers: &[Vec<u8>],
    limits: ApplyOptions<'_>,
) -> Result<Summary, RootfsError> {
    let staging = unpacked.root.with_file_name("staging");
    let options = ApplyOptions {
        staging: Some(&staging),
        workers: Some(3),
        ..limits
    };
    let empty = LayerBuilder::new().finish();
    let base = Ok(layer("base".to_string(), &empty));
    let layers = std::iter::once(base).chain(numbered(layers));
    let mut summary = apply_layers(&unpacked.root, layers, options, &Silent)?;
    summary.layers -= 1;
    Ok(summary)
}

/// Applies valid layers.
pub(crate) fn unpack(layers: &[Vec<u8>]) -> Unpacked {
    let (unpacked, result) = apply_both_ways_and_compare(layers);
    result.unwrap();
    unpacked
}

pub(crate) fn apply_to(root: &Path, layers: &[Vec<u8>]) -> Result<Summary, RootfsError> {
    apply_limited(root, layers, ApplyOptions::default())
}

pub(crate) fn apply_limited(
    root: &Path,
    layers: &[Vec<u8>],
    limits: ApplyOptions<'_>,
) -> Result<Summary, RootfsError> {
    apply_layers(root, numbered(layers), limits, &Silent)
}

fn numbered(layers: &[Vec<u8>]) -> impl Iterator<Item = Result<Layer<'_>, RootfsError>> + Send {
    let layers = layers.iter().enumerate();
    layers.map(|(index, bytes)| Ok(layer(format!("L{index}"), bytes)))
}

fn layer(name: String, bytes: &[u8]) -> Layer<'_> {
    Layer {
        name,
        source: Box::new(bytes),
        diff_id: Some(DiffId(Digest::of(bytes))),
        size: Some(bytes.len() as u64),
    }
}
