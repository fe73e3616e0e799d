//! An image that a registry in this process serves, small but of several layers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use udocker::oci::Digest;

use crate::support::fake_registry::{FakeRegistry, Received, Reply};
use crate::support::image::ImageBuilder;

/// The registry and what it has.
pub struct Served {
    pub registry: FakeRegistry,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Served {
    /// Serves busybox and two layers of small files.
    pub fn start() -> Served {
        Served::misbehaving(|_, _, good| good)
    }

    /// Serves the image with changed answers to requests for blobs: `change` gets the number of the
    /// request, counted from zero, the request, and the correct answer.
    pub fn misbehaving(
        change: impl Fn(u32, &Received, Reply) -> Reply + Send + Sync + 'static,
    ) -> Served {
        let layout = tempfile::tempdir().unwrap();
        let image = ImageBuilder::busybox()
            .layer(small_files("usr/share/one", 300))
            .layer(small_files("usr/share/two", 300));
        image.write_layout(layout.path(), "1");
        // Kept in memory, since the registry lives as long as the process and would keep the
        // directory.
        let (manifest, blobs) = (manifest(layout.path()), blobs(layout.path()));
        let count = AtomicU32::new(0);
        let registry = FakeRegistry::start(move |request| {
            let parts: Vec<&str> = request.path().split('/').collect();
            match parts[..] {
                ["", "v2", ""] => Reply::new(200, "{}"),
                ["", "v2", .., "manifests", _] => {
                    let digest = Digest::of(&manifest).to_string();
                    Reply::new(200, manifest.clone())
                        .header("Content-Type", MANIFEST)
                        .header("Docker-Content-Digest", digest)
                }
                ["", "v2", .., "blobs", digest] => {
                    let hex = digest.trim_start_matches("sha256:");
                    let nth = count.fetch_add(1, Ordering::SeqCst);
                    let bytes = blobs[hex].as_slice();
                    change(nth, request, Reply::new(200, bytes).ranged(request))
                }
                _ => Reply::new(404, ""),
            }
        });
        Served { registry }
    }

    /// The image under a tag; all tags are the same image.
    pub fn image(&self, tag: &str) -> String {
        format!("{}/lab/tool:{tag}", self.registry.url())
    }

    /// How many requests for layers and configurations there were.
    pub fn blob_requests(&self) -> usize {
        let requests = self.registry.requests();
        let is_blob = |request: &&Received| request.path().contains("/blobs/");
        requests.iter().filter(is_blob).count()
    }

    /// How many requests there were for the layer or configuration that was asked for most often.
    pub fn most_requests_for_one_blob(&self) -> usize {
        let mut counts = BTreeMap::new();
        for request in self.registry.requests() {
            if let Some((_, digest)) = request.path().split_once("/blobs/") {
                *counts.entry(digest.to_string()).or_insert(0) += 1;
            }
        }
        counts.into_values().max().unwrap_or(0)
    }
}

/// The blobs by their hashes.
fn blobs(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|blob| {
            let path = blob.unwrap().path();
            let hex = path.file_name().unwrap().to_str().unwrap().to_string();
            (hex, fs::read(path).unwrap())
        })
        .collect()
}

fn manifest(layout: &Path) -> Vec<u8> {
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let hex = digest.trim_start_matches("sha256:");
    fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

/// A layer of files whose content does not compress to nothing.
fn small_files(directory: &str, count: u32) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut random = Random::new(u64::from(count) + directory.len() as u64);
    for number in 0..count {
        let content: Vec<u8> = (0..4096).map(|_| random.below(256) as u8).collect();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let name = format!("{directory}/{}/{number}", number % 10);
        tar.append_data(&mut header, name, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Numbers that look random and are the same in every run: Knuth's linear congruence.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
