//! `manifest inspect` with docker-registry.

use serde_json::{Value, json};

use crate::support::registry_server::RegistryServer;
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

/// A registry with an index `lab/tool:1` of one image for amd64, the index, and the image's digest.
fn registry() -> Option<(RegistryServer, Value, String)> {
    if !has_tools(&["docker-registry"]) {
        return None;
    }
    let server = RegistryServer::plain();
    let (digest, size) = server.push_image("lab/tool", "amd64", &[0; 1024]);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    server.push_manifest("lab/tool", "1", &index);
    Some((server, index, digest.to_string()))
}

#[test]
fn manifest_inspect_prints_the_index_without_a_platform() {
    let Some((server, index, _)) = registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", server.url());
    let ran = sandbox.udocker(["manifest", "inspect", &image]).run();
    let ran = ran.succeeds().prints(&udocker::ui::pretty_json(&index));
    assert_eq!(ran.stderr, "");
    // Options may precede `inspect`, as in the usage of udocker.py, and `--registry` may name the
    // registry.
    let option = format!("--registry={}", server.url());
    sandbox
        .udocker(["manifest", &option, "inspect", "lab/tool:1"])
        .run()
        .succeeds()
        .prints(&udocker::ui::pretty_json(&index));
    assert!(sandbox.leftovers().is_empty());
}

#[test]
fn manifest_inspect_resolves_the_platform() {
    let Some((server, _, digest)) = registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", server.url());
    let by_digest = format!("{}/lab/tool@{digest}", server.url());
    let direct = sandbox
        .udocker(["manifest", "inspect", &by_digest])
        .run()
        .succeeds();
    assert!(direct.stdout.contains("\"layers\": ["), "{direct:#?}");
    sandbox
        .udocker(["manifest", "inspect", "--platform", "linux/amd64", &image])
        .run()
        .succeeds()
        .prints(direct.text());
    sandbox
        .udocker(["manifest", "inspect", "--platform=linux/s390x", &image])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["no image for linux/s390x, only for linux/amd64"]);
    sandbox
        .udocker([
            "manifest",
            "inspect",
            &format!("{}/lab/absent:1", server.url()),
        ])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["lab/absent"]);
    sandbox
        .udocker(["manifest", "annotate", &image])
        .run()
        .exits_with(2)
        .errs_in_one_line(&["'annotate'"]);
}

#[test]
fn registry_without_https_has_a_hint() {
    let Some((server, ..)) = registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", server.url().replace("http://", ""));
    for command in [&["pull", &image][..], &["manifest", "inspect", &image]] {
        let ran = sandbox.udocker(command).run().exits_with(1);
        ran.errs_in_one_line(&["cannot reach 'https://"]);
        assert!(
            ran.stderr
                .contains("Hint: for a registry that has no https, write `http://`")
        );
    }
}
