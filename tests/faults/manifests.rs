//! Images with old, repetitive, inconsistent or hostile manifests and configurations.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use udocker::oci::Digest;

use crate::kills::{assert_can_be_emptied, assert_sound};
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::image::BUSYBOX;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::sandbox::Sandbox;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A registry with blobs, and with one manifest for any tag or digest.
struct ServedBlobs {
    blobs: BTreeMap<String, Vec<u8>>,
    /// The blob that takes long.
    slow: Option<String>,
}

impl ServedBlobs {
    fn new() -> ServedBlobs {
        ServedBlobs {
            blobs: BTreeMap::new(),
            slow: None,
        }
    }

    /// Sends the bytes of a blob one by one.
    fn drip(&mut self, digest: &str) {
        self.slow = Some(digest.to_string());
    }

    /// Adds a blob, and describes it as a manifest does.
    fn add(&mut self, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes).to_string();
        let described = json!({"digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        described
    }

    fn serve(self, media_type: &'static str, manifest: Vec<u8>, digest: &Digest) -> FakeRegistry {
        let digest = digest.to_string();
        FakeRegistry::start(move |request| {
            let parts: Vec<&str> = request.path().split('/').collect();
            match parts[..] {
                ["", "v2", ""] => Reply::new(200, "{}"),
                ["", "v2", .., "manifests", _] => Reply::new(200, manifest.clone())
                    .header("Content-Type", media_type)
                    .header("Docker-Content-Digest", &digest),
                ["", "v2", .., "blobs", blob] => match self.blobs.get(blob) {
                    Some(bytes) if self.slow.as_deref() == Some(blob) => {
                        Reply::new(200, bytes.clone()).drip(Duration::from_millis(10))
                    }
                    Some(bytes) => Reply::new(200, bytes.clone()),
                    None => Reply::new(404, ""),
                },
                _ => Reply::new(404, ""),
            }
        })
    }

    fn serve_manifest(self, manifest: &Value) -> FakeRegistry {
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        self.serve(MANIFEST, bytes, &digest)
    }
}

/// Busybox as `sh` and `cat`, and one file.
fn layer(name: &str, content: &str) -> Vec<u8> {
    let program = std::fs::read(BUSYBOX).unwrap();
    LayerBuilder::new()
        .entry(TarEntry::new(b'0', "bin/sh").mode(0o755).content(program))
        .hard_link("bin/cat", "bin/sh")
        .hard_link("bin/echo", "bin/sh")
        .file(name, content)
        .finish()
}

/// The signed document, whose signature is not checked, and the digest of its payload.
fn signed(payload: &str) -> (Vec<u8>, Digest) {
    let (body, tail) = payload.split_at(payload.len() - 2);
    let protected = json!({"formatLength": body.len(), "formatTail": URL_SAFE_NO_PAD.encode(tail)});
    let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
    let signatures = json!([{"header": {}, "signature": "x", "protected": protected}]);
    let document = format!("{body},\n   \"signatures\": {signatures}{tail}");
    (document.into_bytes(), Digest::of(payload.as_bytes()))
}

#[test]
fn schema_1_image_is_pulled_verified_and_run() {
    let mut blobs = ServedBlobs::new();
    // Instructions without files made this empty layer, several times.
    let empty = blobs.add(LayerBuilder::new().finish())["digest"].take();
    let base = blobs.add(layer("from", "below"))["digest"].take();
    let top = blobs.add(LayerBuilder::new().file("from", "above").finish())["digest"].take();
    let config = json!({"id": "a", "os": "linux", "architecture": "amd64",
        "config": {"Cmd": ["/bin/cat", "/from"], "Env": ["PATH=/bin"]}})
    .to_string();
    let layers = [&empty, &top, &empty, &base, &empty];
    let layers = layers.map(|digest| json!({"blobSum": digest}));
    let history = [config.as_str(), "{}", "{}", "{}", "{}"];
    let history = history.map(|text| json!({"v1Compatibility": text}));
    let payload = json!({
        "schemaVersion": 1, "name": "lab/old", "tag": "1", "architecture": "amd64",
        "fsLayers": layers, "history": history,
    });
    let payload = serde_json::to_string_pretty(&payload).unwrap();
    let (document, digest) = signed(&payload);
    let registry = blobs.serve(SCHEMA_1, document, &digest);
    let sandbox = Sandbox::new();
    for version in ["lab/old:1".to_string(), format!("lab/old@{digest}")] {
        let image = format!("{}/{version}", registry.url());
        sandbox.udocker(["pull", &image]).run().succeeds();
        sandbox.udocker(["verify", &image]).run().succeeds();
        let ran = sandbox.udocker(["run", "--rm", "--nobanner", &image]).run();
        ran.succeeds().prints("above");
    }
    assert_sound(&sandbox);
    assert_can_be_emptied(&sandbox);
}

#[test]
fn repeated_layer_is_fetched_once_and_applied_each_time() {
    let mut blobs = ServedBlobs::new();
    let (one, two) = (
        layer("file", "one"),
        LayerBuilder::new().file("file", "two").finish(),
    );
    let diff_ids = [&one, &two, &one, &two, &one].map(|layer| Digest::of(layer));
    let layers = [blobs.add(one), blobs.add(two)];
    let layers = [0, 1, 0, 1, 0].map(|index: usize| layers[index].clone());
    let config = json!({"os": "linux", "architecture": "amd64", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = blobs.add(config.to_string());
    let registry = blobs.serve_manifest(&json!({"config": config, "layers": layers}));
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/twice:1", registry.url());
    let run = ["run", "--rm", "--nobanner", &image, "cat", "/file"];
    sandbox.udocker(run).run().succeeds().prints("one");
    sandbox.udocker(["verify", &image]).run().succeeds();
    sandbox.udocker(run).run().succeeds().prints("one");
    let requests = registry.requests();
    let blobs = requests.iter().filter(|r| r.path().contains("/blobs/"));
    assert_eq!(blobs.count(), 3, "two layers and a configuration");
    assert_sound(&sandbox);
    assert_can_be_emptied(&sandbox);
}

#[test]
fn layer_with_a_wrong_diff_id_makes_no_container() {
    let mut blobs = ServedBlobs::new();
    let layers = [blobs.add(layer("file", "one"))];
    let config = json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"another")]}});
    let config = blobs.add(config.to_string());
    let registry = blobs.serve_manifest(&json!({"config": config, "layers": layers}));
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/other:1", registry.url());
    let said = [
        "layer '",
        "its content has the digest sha256:",
        "not sha256:",
    ];
    let run = sandbox
        .udocker(["run", "--rm", "--nobanner", &image, "true"])
        .run();
    assert_ne!(run.code(), 0, "{run:#?}");
    run.errs_in_one_line(&said);
    sandbox
        .udocker(["create", &image])
        .run()
        .exits_with(1)
        .errs_in_one_line(&said);
    let verified = sandbox
        .udocker(["-q", "verify", &image])
        .run()
        .exits_with(1);
    assert!(
        said.iter().all(|part| verified.stderr.contains(part)),
        "{verified:#?}"
    );
    let containers = sandbox.udocker(["ps"]).run().succeeds();
    assert_eq!(containers.text().lines().count(), 1, "{containers:#?}");
    assert_can_be_emptied(&sandbox);
}

/// Each error is one line without control characters, and no image is listed.
#[test]
fn pull_refuses_hostile_manifests() {
    type Make = fn(&mut ServedBlobs) -> Vec<u8>;
    let described = |blobs: &mut ServedBlobs, config: Value| {
        let config = blobs.add(config.to_string());
        json!({"config": config, "layers": []})
            .to_string()
            .into_bytes()
    };
    let cases: [(&str, Make, &str); 9] = [
        (
            "ten thousand layers",
            |blobs| {
                let layer = blobs.add("x");
                let layers = vec![layer.clone(); 10_000];
                json!({"config": layer, "layers": layers})
                    .to_string()
                    .into_bytes()
            },
            "lists 10000 layers, more than the 4096 allowed",
        ),
        ("deep", |_| "[".repeat(1 << 20).into_bytes(), "it is a list"),
        (
            "deep inside",
            |blobs| {
                let config = blobs.add("{}");
                let deep = "[".repeat(1 << 20);
                format!(r#"{{"config": {config}, "layers": [], "x": {deep}"#).into_bytes()
            },
            "EOF while parsing",
        ),
        (
            "endless",
            |_| vec![b' '; 5 << 20],
            "is larger than 4194304 bytes",
        ),
        (
            "a type that steers",
            |_| br#"{"mediaType": "\u001b[2Jx\nError: y"}"#.to_vec(),
            "of type '[2Jx Error: y'",
        ),
        (
            "a digest that steers",
            |_| br#"{"layers": [{"digest": "\u001b]0;x\u0007", "size": 1}], "config": 1}"#.to_vec(),
            "digest ']0;x' has no algorithm",
        ),
        (
            "a digest that does not end",
            |_| {
                let digest = "x".repeat(1 << 20);
                format!(
                    r#"{{"layers": [{{"digest": "{digest}", "size": 1}}], "config": {digest:?}}}"#
                )
                .into_bytes()
            },
            "xxx…",
        ),
        (
            "a size below zero",
            |_| {
                let digest = Digest::of(b"x");
                format!(r#"{{"config": {{"digest": "{digest}", "size": -1}}, "layers": []}}"#)
                    .into_bytes()
            },
            "invalid value",
        ),
        (
            "a layer that leads out",
            |blobs| {
                let config = blobs.add("{}");
                let layer = json!({"digest": "sha256:../../../etc/passwd", "size": 1});
                json!({"config": config, "layers": [layer]})
                    .to_string()
                    .into_bytes()
            },
            "needs 64 lower-case hexadecimal digits",
        ),
    ];
    let configs: [(&str, Value, &str); 2] = [
        (
            "with a user that steers",
            json!({"config": {"User": ["\u{1b}[2J\n"]}}),
            "expected a string",
        ),
        (
            "with an environment of another kind",
            json!({"config": {"Env": [{"\u{1b}[2J": 1}]}}),
            "expected a string",
        ),
    ];
    let mut served: Vec<(&str, ServedBlobs, Vec<u8>, &str)> = Vec::new();
    for (name, make, part) in cases {
        let mut blobs = ServedBlobs::new();
        let manifest = make(&mut blobs);
        served.push((name, blobs, manifest, part));
    }
    for (name, config, part) in configs {
        let mut blobs = ServedBlobs::new();
        let manifest = described(&mut blobs, config);
        served.push((name, blobs, manifest, part));
    }
    for (name, blobs, manifest, part) in served {
        let digest = Digest::of(&manifest);
        let registry = blobs.serve("application/json", manifest, &digest);
        let sandbox = Sandbox::new();
        let image = format!("{}/lab/tool:1", registry.url());
        let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
        let steers = |c: char| c.is_control() && c != '\n';
        assert!(!ran.stderr.contains(steers), "{name}: {ran:#?}");
        assert!(
            ran.stderr.len() < 20_000,
            "{name}: {} bytes",
            ran.stderr.len()
        );
        ran.errs_in_one_line(&["cannot pull", part]);
        sandbox.udocker(["gc", "--all"]).run().succeeds();
        assert!(sandbox.leftovers().is_empty(), "{name}");
    }
}

#[test]
fn an_image_for_another_platform_is_pulled_with_a_warning_unless_one_was_asked_for() {
    let mut blobs = ServedBlobs::new();
    let layer = blobs.add(layer("file", "content"));
    let config = json!({"os": "\u{1b}[2J", "architecture": "s390x"});
    let config = blobs.add(config.to_string());
    let registry = blobs.serve_manifest(&json!({"config": config, "layers": [layer]}));
    let image = format!("{}/lab/tool:1", registry.url());
    let message = "the image is for \\u{1b}[2J/s390x, not for linux/";
    for command in ["pull", "create"] {
        let sandbox = Sandbox::new();
        sandbox.udocker(["pull", &image]).run().succeeds();
        let ran = sandbox.udocker([command, &image]).run().succeeds();
        let warns = ran.stderr.contains(&format!("Warning: {message}"));
        assert_eq!(warns, command == "pull", "{ran:#?}");
    }
    let sandbox = Sandbox::new();
    let platform = format!("--platform={}", udocker::oci::Platform::host());
    let ran = sandbox.udocker(["pull", &platform, &image]).run();
    ran.exits_with(1)
        .errs_in_one_line(&["cannot pull", message]);
    sandbox.assert_no_images();
}

#[test]
fn manifests_that_could_be_read_in_two_ways_are_refused() {
    let index = "application/vnd.oci.image.index.v1+json";
    for (media_type, more) in [
        (MANIFEST, json!({"manifests": []})),
        (MANIFEST, json!({"mediaType": index})),
        (
            "application/json",
            json!({"mediaType": index, "manifests": []}),
        ),
    ] {
        let mut blobs = ServedBlobs::new();
        let mut manifest = json!({"config": blobs.add("{}"), "layers": []});
        for (name, value) in more.as_object().unwrap() {
            manifest[name] = value.clone();
        }
        let bytes = manifest.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let registry = blobs.serve(media_type, bytes, &digest);
        let sandbox = Sandbox::new();
        let image = format!("{}/lab/tool:1", registry.url());
        let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
        ran.errs_in_one_line(&["cannot pull", "could be read as an"]);
        sandbox.assert_no_images();
    }
}

#[test]
fn a_manifest_that_lies_about_a_layer_does_not_damage_it() {
    let content = "x".repeat(5 << 20);
    let tree = LayerBuilder::new().file("file", content).finish();
    let mut blobs = ServedBlobs::new();
    let layer = blobs.add(tree.clone());
    let good = json!({"config": blobs.add("{}"), "layers": [layer.clone()]});
    let good = blobs.serve_manifest(&good);
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/good:1", good.url());
    sandbox.udocker(["pull", &image]).run().succeeds();
    for size in [json!(1000), Value::Null] {
        let mut blobs = ServedBlobs::new();
        blobs.add(tree.clone());
        let config = json!({"digest": layer["digest"], "size": size});
        let bad = blobs.serve_manifest(&json!({"config": config, "layers": []}));
        let image = format!("{}/lab/bad:1", bad.url());
        sandbox.udocker(["pull", &image]).run().exits_with(1);
    }
    let before = good.requests().len();
    sandbox.udocker(["pull", &image]).run().succeeds();
    let again = &good.requests()[before..];
    assert!(
        again
            .iter()
            .all(|request| !request.path().contains("/blobs/"))
    );
    sandbox.udocker(["verify", &image]).run().succeeds();
}

#[test]
fn the_first_failure_ends_the_other_downloads() {
    let mut blobs = ServedBlobs::new();
    let config = blobs.add("{}");
    let slow = LayerBuilder::new()
        .file("file", "x".repeat(100_000))
        .finish();
    let slow = blobs.add(slow);
    let absent = json!({"digest": Digest::of(b"absent"), "size": 6});
    let manifest = json!({"config": config, "layers": [slow, absent]});
    let slow = slow["digest"].as_str().unwrap().to_string();
    // All of it would take longer than a test may.
    blobs.drip(&slow);
    let registry = blobs.serve_manifest(&manifest);
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", registry.url());
    let ran = sandbox.udocker(["pull", &image]).run().exits_with(1);
    let absent = Digest::of(b"absent").to_string();
    ran.errs_in_one_line(&["cannot pull", &absent]);
    assert!(!sandbox.store().join("layers").join(slow).exists());
}

#[test]
fn layer_larger_than_the_disk_is_not_fetched() {
    let mut blobs = ServedBlobs::new();
    let config = blobs.add("{}");
    let mut layer = blobs.add(layer("file", "small"));
    layer["size"] = json!(1_u64 << 60);
    let registry = blobs.serve_manifest(&json!({"config": config, "layers": [layer]}));
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", registry.url());
    // `run` needs as much again for the container.
    for (command, needed) in [("pull", 1_152_921_504_607_u64), ("run", 2_305_843_009_214)] {
        let ran = sandbox.udocker([command, &image]).run();
        assert_ne!(ran.code(), 0, "{ran:#?}");
        ran.errs_in_one_line(&[
            &format!("No space left on device: at least {needed} MB are needed, "),
            " MB are free",
        ]);
    }
    let layer = layer["digest"].as_str().unwrap();
    let requests = registry.requests();
    assert!(
        requests
            .iter()
            .all(|request| !request.path().ends_with(layer))
    );
    assert_can_be_emptied(&sandbox);
}

#[test]
fn config_with_control_characters_is_escaped_and_run() {
    let mut blobs = ServedBlobs::new();
    let layer = layer("bin/\u{1b}[2J", "#!/bin/sh\necho ran");
    let config = json!({"os": "linux", "architecture": "amd64",
        "config": {"Entrypoint": ["/bin/sh", "/bin/\u{1b}[2J"], "Labels": {"\u{1b}[2J": "\u{9b}2J"}}});
    let (config, layer) = (blobs.add(config.to_string()), blobs.add(layer));
    let registry = blobs.serve_manifest(&json!({"config": config, "layers": [layer]}));
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", registry.url());
    let steers = |c: char| c.is_control() && c != '\n';
    for args in [
        &["pull", &image][..],
        &["run", &image],
        &["inspect", &image],
        &["ps"],
    ] {
        let ran = sandbox.udocker(args).run().succeeds();
        let said = [ran.stdout.as_str(), &ran.stderr].concat();
        assert!(!said.contains(steers), "{ran:#?}");
    }
}
