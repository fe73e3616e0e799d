//! Layers of entries with conflicting names. Nothing outside the rootfs may change, every tree that
//! was applied can be removed, and an archive that cannot be read cannot be applied.
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use udocker::oci::{DiffId, Digest};
use udocker::progress::Silent;
use udocker::rootfs::{
    ApplyOptions, Layer, RootfsError, Summary, apply_layers, check_layer, remove_tree,
};

#[path = "../../support/layer_builder.rs"]
#[allow(dead_code, reason = "only a part of it is of use here")]
mod layer_builder;

use layer_builder::{LayerBuilder, TarEntry};

/// Few names, so that entries conflict; some lead out of the rootfs.
const NAMES: [&str; 16] = [
    "a",
    "b",
    "d",
    "..",
    ".",
    "",
    "/",
    ".wh.a",
    ".wh.d",
    ".wh..wh..opq",
    ".wh.",
    ".wh...",
    "secret",
    "\n",
    ".wh..wh.aufs",
    "root",
];

#[derive(Arbitrary, Debug)]
struct Path3([u8; 3]);

impl Path3 {
    fn text(&self, secret: &Path) -> String {
        let names: Vec<&str> = self
            .0
            .iter()
            .map(|index| NAMES[usize::from(*index) % NAMES.len()])
            .collect();
        match self.0[0] {
            // Absolute and relative paths to a file outside.
            254 => secret.display().to_string(),
            255 => format!("../../{}", names[1..].join("/")),
            _ => names.join("/"),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Entry {
    name: Path3,
    kind: u8,
    link: Path3,
    mode: u16,
    mtime: i64,
    content: Vec<u8>,
    declared: Option<u64>,
}

fuzz_target!(|layers: Vec<Vec<Entry>>| {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let secret = scratch.path().join("secret");
    fs::write(&secret, "untouched").expect("a writable directory");
    let root = scratch.path().join("root");
    fs::create_dir(&root).expect("a writable directory");
    let before = state(scratch.path());

    let layers: Vec<Vec<u8>> = layers
        .iter()
        .map(|entries| {
            entries
                .iter()
                .fold(LayerBuilder::new(), |layer, entry| {
                    layer.entry(tar_entry(entry, &secret))
                })
                .finish()
        })
        .collect();
    let limits = ApplyOptions {
        max_unpacked_bytes: Some(1 << 20),
        max_entries: 1000,
        ..ApplyOptions::default()
    };
    let each = layers.iter().map(|bytes| Ok(layer(bytes)));
    let applied = apply_layers::<_, RootfsError>(&root, each, limits, &Silent);
    // Prefetching gives the same result; it needs an empty layer below.
    let (other, staging) = (root.join("../other"), root.join("../staging"));
    fs::create_dir(&other).expect("a writable directory");
    let empty = LayerBuilder::new().finish();
    let ahead = apply_layers::<_, RootfsError>(
        &other,
        std::iter::once(&empty)
            .chain(&layers)
            .map(|bytes| Ok(layer(bytes))),
        ApplyOptions {
            max_unpacked_bytes: None,
            staging: Some(&staging),
            workers: Some(2),
            ..limits
        },
        &Silent,
    )
    .map(|summary| Summary {
        layers: summary.layers - 1,
        ..summary
    });
    let text = |result: &Result<_, RootfsError>| match result {
        Ok(summary) => format!("{summary:?}"),
        Err(error) => error.to_string(),
    };
    if !matches!(applied, Err(RootfsError::Limit { .. })) {
        assert_eq!(text(&ahead), text(&applied));
    }
    for directory in [&other, &staging] {
        remove_tree(directory, &Silent).expect("what is made can be removed");
    }
    let readable = layers
        .iter()
        .all(|bytes| check_layer(layer(bytes), None, &Silent).is_ok());
    assert!(readable || applied.is_err(), "applied, and cannot be read");
    assert_eq!(state(scratch.path()), before, "something beside the root");
    remove_tree(&root, &Silent).expect("what is made can be removed");
});

fn layer(bytes: &[u8]) -> Layer<'_> {
    Layer {
        name: "fuzz".to_string(),
        source: Box::new(bytes),
        diff_id: Some(DiffId(Digest::of(bytes))),
        size: None,
    }
}

fn tar_entry(entry: &Entry, secret: &Path) -> TarEntry {
    let kinds = b"0512345613";
    let mut made = TarEntry::new(
        kinds[usize::from(entry.kind) % kinds.len()],
        entry.name.text(secret),
    )
    .mode(u32::from(entry.mode) & 0o7777)
    .mtime(entry.mtime)
    .link(entry.link.text(secret));
    if made.flag == b'0' {
        made = made.content(&entry.content);
        if let Some(size) = entry.declared {
            made = made.declared_size(size >> 1);
        }
    }
    made
}

/// The files beside the rootfs, with their content.
fn state(scratch: &Path) -> Vec<(String, u64, u32, i64)> {
    let mut found: Vec<_> = fs::read_dir(scratch)
        .expect("the scratch directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("what is there");
            let is_root = entry.file_name() == "root";
            let mtime = if is_root { 0 } else { meta.mtime_nsec() };
            let mode = if is_root { 0 } else { meta.mode() };
            let size = if is_root { 0 } else { meta.size() };
            (
                entry.file_name().to_string_lossy().into_owned(),
                size,
                mode,
                mtime,
            )
        })
        .collect();
    found.sort();
    found
}
