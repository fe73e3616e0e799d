//! Builds image archives, loads images, and inspects the store afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use udocker::oci::Digest;

use super::image::ImageBuilder;
use super::layer_builder::{LayerBuilder, TarEntry};
use super::sandbox::Sandbox;

/// A layer with one file.
pub fn layer(name: &str, content: &str) -> Vec<u8> {
    LayerBuilder::new()
        .directory("etc")
        .file(format!("etc/{name}"), content)
        .finish()
}

/// An image of two layers with the files `etc/base` and `etc/top`.
pub fn two_layers() -> ImageBuilder {
    ImageBuilder::new()
        .layer(layer("base", "from below"))
        .layer(layer("top", "from above"))
}

/// The parts of an archive in the format of `docker save`.
pub struct DockerArchive {
    pub layers: Vec<Vec<u8>>,
    pub config_name: String,
    pub config: Value,
    pub manifest: Value,
}

impl DockerArchive {
    /// One image called `name`.
    pub fn new(name: &str, layers: &[Vec<u8>]) -> DockerArchive {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        let config = json!({
            "os": "linux",
            "architecture": "amd64",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let paths: Vec<String> = (0..layers.len())
            .map(|n| format!("l{n}/layer.tar"))
            .collect();
        let config_name = DockerArchive::name_of(&config);
        DockerArchive {
            layers: layers.to_vec(),
            config_name: config_name.clone(),
            manifest: json!([{
                "Config": config_name,
                "RepoTags": [name],
                "Layers": paths,
            }]),
            config,
        }
    }

    /// The member name of a configuration, which holds its digest.
    pub fn name_of(config: &Value) -> String {
        format!("{}.json", Digest::of(config.to_string().as_bytes()).hex())
    }

    /// All members, to which a test may add.
    pub fn members(&self) -> LayerBuilder {
        let mut tar = LayerBuilder::new().file(&self.config_name, self.config.to_string());
        for (number, layer) in self.layers.iter().enumerate() {
            tar = tar
                .directory(format!("l{number}"))
                .file(format!("l{number}/layer.tar"), layer);
        }
        // Docker writes the manifest last.
        tar.file("manifest.json", self.manifest.to_string())
    }

    /// The archive.
    pub fn finish(&self) -> Vec<u8> {
        self.members().finish()
    }
}

/// An archive in the legacy format: `repositories`, and layers that name their parents.
pub fn legacy_archive() -> Vec<u8> {
    let (base, top) = (layer("base", "from below"), layer("top", "from above"));
    LayerBuilder::new()
        .file("aa/VERSION", "1.0")
        .file("aa/json", r#"{"id":"aa"}"#)
        .file("aa/layer.tar", &base)
        .file("bb/VERSION", "1.0")
        .file(
            "bb/json",
            r#"{"id":"bb","parent":"aa","config":{"Cmd":["old"]}}"#,
        )
        .file("bb/layer.tar", &top)
        // Docker 1.10 to 24 wrote a repeated layer as a symbolic link.
        .file(
            "cc/json",
            r#"{"id":"cc","parent":"bb","config":{"Cmd":["linked"]}}"#,
        )
        .entry(TarEntry::new(b'2', "cc/layer.tar").link("../aa/layer.tar"))
        .file("repositories", r#"{"lab/old":{"1":"bb","2":"cc"}}"#)
        .finish()
}

/// Runs a tool that has to succeed, and returns what it printed.
#[track_caller]
pub fn tool(name: &str, args: &[&str]) -> String {
    let output = Command::new(name)
        .args(args)
        .output()
        .expect("the tool starts");
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The file `path` of a container made from `image`.
#[track_caller]
pub fn file_in_image(sandbox: &Sandbox, image: &str, path: &str) -> String {
    let id = sandbox.udocker(["create", image]).run().succeeds();
    file_in_container(sandbox, id.text(), path)
}

/// The file `path` of a container.
#[track_caller]
pub fn file_in_container(sandbox: &Sandbox, container: &str, path: &str) -> String {
    fs::read_to_string(root_of(sandbox, container).join(path)).unwrap()
}

/// The root directory of a container.
#[track_caller]
pub fn root_of(sandbox: &Sandbox, container: &str) -> PathBuf {
    let ran = sandbox
        .udocker(["inspect", "-p", container])
        .run()
        .succeeds();
    PathBuf::from(ran.text())
}

/// The paths and sizes of all files that a failed command must not change.
pub fn store_state(sandbox: &Sandbox) -> Vec<String> {
    let mut state = Vec::new();
    collect(&sandbox.store(), &mut state);
    for entry in fs::read_dir(sandbox.path("tmp")).unwrap() {
        state.push(entry.unwrap().path().display().to_string());
    }
    state.sort();
    state
}

fn collect(directory: &Path, state: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        let is_staging = path.ends_with(".staging") || path.ends_with(".containers.staging");
        if kind.is_dir() && !is_staging {
            state.push(path.display().to_string());
        } else if kind.is_file() && !path.ends_with("layers/.lock") {
            let length = path.metadata().unwrap().len();
            state.push(format!("{} {length}", path.display()));
        }
        if kind.is_dir() {
            collect(&path, state);
        }
    }
}

/// A sandbox whose store has this image under `name`.
#[track_caller]
pub fn with_image(image: &ImageBuilder, name: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    load(&sandbox, image, name);
    sandbox
}

/// Loads an image into the store under `name`.
#[track_caller]
pub fn load(sandbox: &Sandbox, image: &ImageBuilder, name: &str) {
    let layout = tempfile::tempdir().expect("a temporary directory");
    image.write_layout(layout.path(), "v1");
    let path = layout.path().display().to_string();
    let load = ["load", "-i", &path, name];
    sandbox.udocker(load).run().succeeds();
}
