//! `pull` from registries whose answers are wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::fake_registry::{FakeRegistry, Received, Reply};
use crate::support::image::{ImageBuilder, Packing};
use crate::support::layer_builder::LayerBuilder;
use crate::support::sandbox::Sandbox;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of one layer, ready to be served.
pub(super) struct Served {
    manifest: Vec<u8>,
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
    /// The digest of its layer.
    layer: String,
}

impl Served {
    pub(super) fn new() -> Served {
        let layer = LayerBuilder::new()
            .file("file", vec![b'x'; 100_000])
            .finish();
        let layer_digest = udocker::oci::Digest::of(&layer).to_string();
        let directory = tempfile::tempdir().unwrap();
        let image = ImageBuilder::new().packed_layer(layer, Packing::Plain);
        let layout = image.write_layout(directory.path(), "latest");
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifest = index["manifests"][0]["digest"].as_str().unwrap();
        let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
        let mut blobs: BTreeMap<String, Vec<u8>> = blobs
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = format!("sha256:{}", entry.file_name().to_string_lossy());
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        Served {
            manifest: blobs.remove(manifest).unwrap(),
            blobs,
            layer: layer_digest,
        }
    }

    /// The answer of a correct registry.
    pub(super) fn reply(&self, request: &Received) -> Reply {
        if request.path().contains("/manifests/") {
            return Reply::new(200, self.manifest.clone()).header("Content-Type", MANIFEST_TYPE);
        }
        match request.path().rsplit_once("/blobs/") {
            Some((_, digest)) => match self.blobs.get(digest) {
                Some(blob) => Reply::new(200, blob.clone()).ranged(request),
                None => Reply::new(404, ""),
            },
            None => Reply::new(200, "{}"),
        }
    }

    pub(super) fn is_layer(&self, request: &Received) -> bool {
        request.path().ends_with(&self.layer)
    }
}

/// The part of the image for which the registry gives a wrong answer.
#[derive(Clone, Copy)]
enum Part {
    Manifest,
    Layer,
}

/// Pulls from a registry that answers requests for `part` with `misbehave`. Asserts that the pull
/// fails with one line that holds all of `parts`, that it leaves no wrong blob, and that the next
/// pull succeeds once the registry answers correctly.
#[track_caller]
fn fails(part: Part, misbehave: fn(&Served, &Received) -> Reply, parts: &[&str]) {
    let is_honest = Arc::new(AtomicBool::new(false));
    let registry = FakeRegistry::start({
        let (served, is_honest) = (Served::new(), is_honest.clone());
        move |request| {
            let is_meant = match part {
                Part::Manifest => request.path().contains("/manifests/"),
                Part::Layer => served.is_layer(request),
            };
            if is_meant && !is_honest.load(Ordering::SeqCst) {
                misbehave(&served, request)
            } else {
                served.reply(request)
            }
        }
    });
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/odd:1", registry.url());
    let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
    ran.errs_in_one_line(&[&["lab/odd"], parts].concat());
    let listed = sandbox.udocker(["-q", "images"]).run().succeeds();
    listed.prints("");
    match part {
        Part::Manifest => sandbox.assert_empty(),
        // Complete blobs stay, as does a partial download that can be resumed.
        Part::Layer => assert_eq!(wrong_blobs(&sandbox), Vec::<PathBuf>::new()),
    }
    is_honest.store(true, Ordering::SeqCst);
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox.udocker(["verify", &image]).run().succeeds();
}

/// The blobs whose content does not match the digest in their name.
fn wrong_blobs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let listing = fs::read_dir(sandbox.store().join("layers")).unwrap();
    listing
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter(|entry| {
            let found = udocker::oci::Digest::of(&fs::read(entry.path()).unwrap());
            entry.file_name().to_string_lossy() != found.to_string()
        })
        .map(|entry| entry.path())
        .collect()
}

fn layer_of(served: &Served) -> Vec<u8> {
    served.blobs[&served.layer].clone()
}

#[test]
fn pull_rejects_binary_data_as_manifest() {
    let reply = |_: &Served, _: &Received| {
        Reply::new(200, b"\0\x01\x02 nonsense".to_vec()).header("Content-Type", MANIFEST_TYPE)
    };
    fails(Part::Manifest, reply, &["the manifest is not valid: "]);
}

#[test]
fn pull_rejects_other_json_as_manifest() {
    let reply = |_: &Served, _: &Received| {
        Reply::new(200, r#"{"hello": ["world"]}"#).header("Content-Type", MANIFEST_TYPE)
    };
    fails(
        Part::Manifest,
        reply,
        &["the manifest is not valid: missing field `config`"],
    );
}

#[test]
fn pull_rejects_html_as_manifest() {
    let reply = |_: &Served, _: &Received| {
        Reply::new(200, "<html><body>Welcome to the hotel</body></html>")
            .header("Content-Type", "text/html")
    };
    fails(Part::Manifest, reply, &["a web page of type 'text/html'"]);
}

#[test]
fn pull_rejects_truncated_manifest() {
    let reply = |served: &Served, request: &Received| {
        served.reply(request).cut_at(served.manifest.len() / 2)
    };
    fails(
        Part::Manifest,
        reply,
        &["cannot reach '", "/v2/lab/odd/manifests/1': "],
    );
}

#[test]
fn pull_names_unknown_tag_despite_html_answer() {
    let reply = |_: &Served, _: &Received| {
        Reply::new(404, "<html>Not here</html>").header("Content-Type", "text/html")
    };
    fails(
        Part::Manifest,
        reply,
        &["has no '1' of 'lab/odd': the answer is a web page"],
    );
}

#[test]
fn pull_rejects_manifest_of_another_digest() {
    let served = Served::new();
    let registry = FakeRegistry::start(move |request| served.reply(request));
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/odd@sha256:{}", registry.url(), "1".repeat(64));
    let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
    ran.errs_in_one_line(&["digest"]);
    sandbox.assert_empty();
}

#[test]
fn pull_rejects_html_as_layer() {
    let reply = |_: &Served, _: &Received| {
        Reply::new(200, "<html>Please log in</html>").header("Content-Type", "text/html")
    };
    fails(
        Part::Layer,
        reply,
        &["is damaged: ", "bytes instead of the "],
    );
}

#[test]
fn pull_rejects_truncated_layer() {
    // The server ignores ranges, so the download cannot be resumed.
    let reply = |served: &Served, _: &Received| Reply::new(200, layer_of(served)).cut_at(50_000);
    fails(Part::Layer, reply, &["broke off at "]);
}

#[test]
fn pull_rejects_layer_of_another_digest() {
    let reply = |served: &Served, _: &Received| {
        let mut layer = layer_of(served);
        layer[70_000] ^= 1;
        Reply::new(200, layer)
    };
    fails(Part::Layer, reply, &["digest"]);
}

#[test]
fn pull_rejects_layer_shorter_than_announced() {
    let reply = |served: &Served, _: &Received| {
        let layer = layer_of(served);
        Reply::new(200, layer[..layer.len() - 512].to_vec())
    };
    fails(
        Part::Layer,
        reply,
        &["is damaged: ", "bytes instead of the "],
    );
}

#[test]
fn pull_rejects_layer_longer_than_announced() {
    let reply =
        |served: &Served, _: &Received| Reply::new(200, [layer_of(served), vec![0; 512]].concat());
    fails(Part::Layer, reply, &["is damaged: more than the "]);
}

#[test]
fn pull_names_missing_layer() {
    let reply = |_: &Served, _: &Received| Reply::new(404, "");
    fails(Part::Layer, reply, &["does not have 'sha256:"]);
}

#[test]
fn pull_reports_long_rate_limit() {
    let reply = |_: &Served, _: &Received| Reply::new(429, "").header("Retry-After", "86400");
    fails(Part::Manifest, reply, &["86400 seconds"]);
}

#[test]
fn pull_retries_after_short_rate_limit() {
    let served = Served::new();
    let busy = AtomicUsize::new(0);
    let registry = FakeRegistry::start(move |request| {
        if busy.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            Reply::new(429, "").header("Retry-After", "1")
        } else {
            served.reply(request)
        }
    });
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/odd:1", registry.url());
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox.udocker(["verify", &image]).run().succeeds();
}
