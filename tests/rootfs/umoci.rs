//! Comparison with `umoci unpack --rootless`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use udocker::oci::Digest;
use udocker::progress::Silent;

use crate::support::sandbox::set_umask;
use crate::support::tree::{self, Kind, Tree, assert_same};
use crate::unpack::unpack;

/// Fails unless these layers unpack to the same tree as with umoci.
pub(crate) fn assert_as_umoci(name: &str, layers: &[Vec<u8>]) {
    let ours = unpack(layers);
    let reference = tempfile::tempdir().unwrap();
    unpack_with_umoci(reference.path(), layers);
    let mut expected = tree::read(&reference.path().join("bundle/rootfs"));
    let mut found = tree::read(&ours.root);
    allow_tolerances(&mut found, &mut expected);
    assert_same(name, &found, &expected);
    udocker::rootfs::remove_tree(&ours.root, &Silent).unwrap();
    udocker::rootfs::remove_tree(&reference.path().join("bundle"), &Silent).unwrap();
}

/// Removes permitted differences: we give owners access to their files; and umoci leaves the time
/// of unpacking on implied directories, and on directories in which it made an implied directory or
/// removed files because of a whiteout of a parent.
fn allow_tolerances(found: &mut Tree, expected: &mut Tree) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (path, node) in expected {
        let is_directory = node.kind == Kind::Directory;
        node.mode |= if is_directory { 0o700 } else { 0o600 };
        if is_directory
            && node.mtime.0 > now.as_secs() as i64 - 3600
            && let Some(ours) = found.get_mut(path)
        {
            node.mtime = ours.mtime;
        }
    }
}

/// Makes an OCI layout of gzip layers in `directory` and unpacks it to `directory/bundle`.
fn unpack_with_umoci(directory: &Path, layers: &[Vec<u8>]) {
    let layout = directory.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        digest
    };
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for layer in layers {
        diff_ids.push(Digest::of(layer).to_string());
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(layer).unwrap();
        let blob = encoder.finish().unwrap();
        descriptors.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": put(&blob).to_string(),
            "size": blob.len(),
        }));
    }
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": put(config.as_bytes()).to_string(),
            "size": config.len(),
        },
        "layers": descriptors,
    })
    .to_string();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": put(manifest.as_bytes()).to_string(),
            "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": "test" },
        }],
    });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    set_umask();
    let output = Command::new("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:test", layout.display()))
        .arg(directory.join("bundle"))
        .output()
        .expect("umoci is installed");
    assert!(
        output.status.success(),
        "umoci: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
