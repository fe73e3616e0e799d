//! Blobs whose content does not match the digest in their name.

use std::fs;
use std::path::PathBuf;

use crate::served::Served;
use crate::support::sandbox::Sandbox;

fn blobs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.store().join("layers")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_str().unwrap().contains("sha256:"))
        .collect()
}

#[test]
fn pull_replaces_damaged_blobs() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    let pull = || sandbox.udocker(["pull", &image]).run().succeeds();
    pull();
    let blobs = blobs(&sandbox);
    assert_eq!(blobs.len(), 4);
    for blob in blobs {
        let content = fs::read(&blob).unwrap();
        // A killed udocker.py leaves a truncated blob.
        let cut = &content[..content.len() / 2];
        let mut altered = content.clone();
        altered[content.len() / 2] ^= 1;
        for damaged in [cut, &altered] {
            fs::write(&blob, damaged).unwrap();
            // `pull` sees by itself that a blob is short. An altered layer has to be found by
            // `verify`.
            let is_small = content.starts_with(b"{");
            if !is_small && damaged.len() == content.len() {
                let ran = sandbox.udocker(["verify", &image]).run().exits_with(1);
                assert!(ran.stderr.contains("`udocker pull "), "{ran:#?}");
            }
            pull();
            assert_eq!(fs::read(&blob).unwrap(), content);
        }
    }
    let requests = served.blob_requests();
    pull();
    assert_eq!(served.blob_requests(), requests, "nothing is damaged");
    sandbox.udocker(["verify", &image]).run().succeeds();
}
