//! Everything streams: how large a layer is does not show in the memory that is used.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use serde_json::json;
use udocker::oci::Digest;

use crate::support::requirement::has_tools;
use crate::support::sandbox::{Invocation, Sandbox};

const LIMIT_KIB: u64 = 64 * 1024;
const FILE_BYTES: u64 = 300 << 20;

/// Writes a root file system of one large file that does not compress.
fn write_tree(path: &Path) {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(FILE_BYTES);
    tar.append_data(&mut header, "large", Noise(1).take(FILE_BYTES))
        .unwrap();
    tar.into_inner().unwrap().flush().unwrap();
}

/// The same bytes each time, with nothing in them to compress.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            // Marsaglia's xorshift.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

/// Writes a docker-archive around a layer, of which the digest is known.
fn write_archive(path: &Path, layer: &Path, diff_id: &Digest) {
    let config = json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    .to_string();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest =
        json!([{"Config": config_name, "RepoTags": ["lab/large:1"], "Layers": ["l/layer.tar"]}]);
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut add = |name: &str, source: &mut dyn Read, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size);
        tar.append_data(&mut header, name, source).unwrap();
    };
    let size = layer.metadata().unwrap().len();
    add("l/layer.tar", &mut File::open(layer).unwrap(), size);
    add(&config_name, &mut config.as_bytes(), config.len() as u64);
    let manifest = manifest.to_string();
    add(
        "manifest.json",
        &mut manifest.as_bytes(),
        manifest.len() as u64,
    );
    tar.into_inner().unwrap().flush().unwrap();
}

/// Runs it, and asserts how much memory it had at most.
#[track_caller]
fn stays_small(invocation: Invocation) {
    let ran = invocation
        .through(&["/usr/bin/time", "-f", "%M"])
        .run()
        .succeeds();
    let peak: u64 = ran.stderr.lines().last().unwrap().trim().parse().unwrap();
    assert!(peak < LIMIT_KIB, "{peak} KiB: {ran:#?}");
}

#[test]
fn a_large_layer_does_not_show_in_the_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let tree = sandbox.path("tree.tar");
    write_tree(&tree);
    let digest = {
        let source = File::open(&tree).unwrap();
        let hashing = udocker::stream::HashingReader::new(source, udocker::oci::Algorithm::Sha256);
        hashing.finish().unwrap().0
    };
    write_archive(&sandbox.path("archive.tar"), &tree, &digest);
    stays_small(sandbox.udocker(["load", "-i", "archive.tar"]));
    std::fs::remove_file(sandbox.path("archive.tar")).unwrap();
    stays_small(sandbox.udocker(["save", "-o", "saved.tar", "lab/large:1"]));
    std::fs::remove_file(sandbox.path("saved.tar")).unwrap();
    stays_small(sandbox.udocker(["import", "--tocontainer", "--name=a", "tree.tar"]));
    stays_small(sandbox.udocker(["import", "--mv", "tree.tar", "lab/imported"]));
    stays_small(sandbox.udocker(["clone", "--name=b", "a"]));
    stays_small(sandbox.udocker(["export", "-o", "exported.tar", "a"]));
}
