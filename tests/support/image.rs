//! Builds small images as OCI layouts, which `load` reads and skopeo pushes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bzip2::write::BzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use serde_json::{Value, json};
use udocker::oci::Digest;

use super::layer_builder::{LayerBuilder, TarEntry};

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Uncompressed.
    Plain,
    /// As one gzip member.
    Gzip,
    /// As bzip2.
    Bzip2,
    /// As xz.
    Xz,
    /// As zstd.
    Zstd,
}

impl Packing {
    /// All of them.
    pub const ALL: [Packing; 5] = [
        Packing::Plain,
        Packing::Gzip,
        Packing::Bzip2,
        Packing::Xz,
        Packing::Zstd,
    ];

    /// Stores the bytes of a tar file in this way.
    pub fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => tar.to_vec(),
            Packing::Gzip => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(tar).expect("writing to memory");
                encoder.finish().expect("writing to memory")
            }
            Packing::Bzip2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(tar).expect("writing to memory");
                encoder.finish().expect("writing to memory")
            }
            Packing::Xz => {
                let options = XzOptions::with_preset(0);
                let mut encoder = XzWriter::new(Vec::new(), options).expect("valid options");
                encoder.write_all(tar).expect("writing to memory");
                encoder.finish().expect("writing to memory")
            }
            Packing::Zstd => zstd::encode_all(tar, 1).expect("writing to memory"),
        }
    }
}

/// Collects layers and a configuration.
pub struct ImageBuilder {
    layers: Vec<(Vec<u8>, Packing)>,
    config: Value,
    platform: (String, String),
}

impl ImageBuilder {
    /// An image without layers, for this machine.
    pub fn new() -> ImageBuilder {
        let host = udocker::oci::Platform::host();
        ImageBuilder {
            layers: Vec::new(),
            config: json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}),
            platform: (host.os, host.architecture),
        }
    }

    /// An image of one layer with Debian's static busybox, all its applets, and account files.
    pub fn busybox() -> ImageBuilder {
        ImageBuilder::new().layer(busybox_layer())
    }

    /// Adds a layer: the bytes of a tar file. It is stored as gzip.
    pub fn layer(self, tar: Vec<u8>) -> ImageBuilder {
        self.packed_layer(tar, Packing::Gzip)
    }

    /// Adds a layer stored in a certain way.
    pub fn packed_layer(mut self, tar: Vec<u8>, packing: Packing) -> ImageBuilder {
        self.layers.push((tar, packing));
        self
    }

    /// Replaces the `config` object of the configuration.
    pub fn config(mut self, config: Value) -> ImageBuilder {
        self.config = config;
        self
    }

    /// Sets the platform.
    pub fn platform(mut self, os: &str, architecture: &str) -> ImageBuilder {
        self.platform = (os.to_string(), architecture.to_string());
        self
    }

    /// Writes the image into the OCI layout `directory`, which may exist, under `tag`.
    pub fn write_layout(&self, directory: &Path, tag: &str) -> PathBuf {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a writable place for the layout");
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            fs::write(blobs.join(digest.hex()), bytes).expect("a writable layout");
            digest
        };
        let mut diff_ids = Vec::new();
        let mut descriptors = Vec::new();
        for (tar, packing) in &self.layers {
            diff_ids.push(Digest::of(tar).to_string());
            let blob = packing.pack(tar);
            let kind = match packing {
                Packing::Plain => "tar",
                Packing::Gzip => "tar+gzip",
                Packing::Bzip2 => "tar+bzip2",
                Packing::Xz => "tar+xz",
                Packing::Zstd => "tar+zstd",
            };
            descriptors.push(json!({
                "mediaType": format!("application/vnd.oci.image.layer.v1.{kind}"),
                "digest": put(&blob).to_string(),
                "size": blob.len(),
            }));
        }
        let config = to_bytes(&json!({
            "os": self.platform.0,
            "architecture": self.platform.1,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }));
        let manifest = to_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": put(&config).to_string(),
                "size": config.len(),
            },
            "layers": descriptors,
        }));
        let index_path = directory.join("index.json");
        let mut entries = match fs::read(&index_path) {
            Ok(bytes) => {
                serde_json::from_slice::<Value>(&bytes).expect("our own JSON")["manifests"].take()
            }
            Err(_) => json!([]),
        };
        entries.as_array_mut().expect("our own JSON").push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": put(&manifest).to_string(),
            "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }));
        fs::write(
            &index_path,
            to_bytes(&json!({"schemaVersion": 2, "manifests": entries})),
        )
        .expect("a writable layout");
        fs::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .expect("a writable layout");
        directory.to_path_buf()
    }
}

/// The executable of Debian's package `busybox-static`.
pub const BUSYBOX: &str = "/bin/busybox";

fn busybox_layer() -> Vec<u8> {
    let binary = fs::read(BUSYBOX).expect("busybox-static; scripts/test.sh installs it");
    let applets = std::process::Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .expect("busybox runs");
    let applets = String::from_utf8(applets.stdout).expect("busybox prints ASCII");
    let mut layer = LayerBuilder::new();
    for name in ["bin/", "etc/", "root/", "dev/", "proc/", "sys/", "var/"] {
        layer = layer.directory(name);
    }
    layer = layer.entry(TarEntry::new(b'5', "tmp/").mode(0o1777)).entry(
        TarEntry::new(b'0', "bin/busybox")
            .mode(0o755)
            .content(binary),
    );
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer = layer.symlink(format!("bin/{applet}"), "busybox");
    }
    layer
        .file(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\n",
        )
        .file("etc/group", "root:x:0:\ndaemon:x:1:\n")
        .finish()
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain JSON")
}
