//! Registries that lie below a path of their host, as Artifactory's and Nexus's do.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::bad_registries::Served;
use crate::support::fake_registry::{FakeRegistry, Received, Reply};
use crate::support::sandbox::Sandbox;

const PATH: &str = "/art/api/docker/rk";

/// Starts a registry below [`PATH`], which knows one image and requires the login `me:radium`.
fn guarded() -> FakeRegistry {
    let served = Served::new();
    FakeRegistry::start(move |request| {
        let Some(target) = request.target.strip_prefix(PATH) else {
            return Reply::new(404, "nothing lies outside");
        };
        let login = format!("Basic {}", STANDARD.encode("me:radium"));
        if request.header("authorization") != Some(&login) {
            return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\"");
        }
        let request = Received {
            target: target.to_string(),
            ..request.clone()
        };
        match target {
            "/v2/lab/odd/tags/list?n=1000" => Reply::new(200, r#"{"tags":["1"]}"#).header(
                "Link",
                format!(r#"<{PATH}/v2/lab/odd/tags/list?at=2>; rel="next""#),
            ),
            // A registry behind a proxy does not know the path.
            "/v2/lab/odd/tags/list?at=2" => Reply::new(200, r#"{"tags":["2"]}"#)
                .header("Link", r#"</v2/lab/odd/tags/list?at=3>; rel="next""#),
            "/v2/lab/odd/tags/list?at=3" => Reply::new(200, r#"{"tags":["3"]}"#),
            "/v2/_catalog?n=1000" => Reply::new(200, r#"{"repositories":["lab/odd"]}"#),
            target if target.starts_with("/v2/") => served.reply(&request),
            _ => Reply::new(404, ""),
        }
    })
}

#[test]
fn a_registry_below_a_path_is_used_like_any_other() {
    let server = guarded();
    let url = format!("{}{PATH}", server.url());
    let option = format!("--registry={url}/");
    let sandbox = Sandbox::new();
    let login = |password: &str| {
        let login = ["login", &option, "--username=me", "--password-stdin"];
        let login = sandbox.udocker(login);
        login.stdin(format!("{password}\n")).run()
    };
    login("polonium").exits_with(1);
    login("radium").succeeds();
    let keystore = fs::read(sandbox.store().join("keystore")).unwrap();
    let keystore: Value = serde_json::from_slice(&keystore).unwrap();
    let auth = STANDARD.encode("me:radium");
    // udocker.py looks for this key.
    assert_eq!(keystore, json!({ &url: {"auth": auth, "email": ""}}));

    sandbox
        .udocker(["pull", &option, "lab/odd:1"])
        .run()
        .succeeds();
    sandbox.udocker(["verify", "lab/odd:1"]).run().succeeds();
    let tags = sandbox
        .udocker(["search", "--list-tags", "lab/odd"])
        .env("UDOCKER_REGISTRY", &url);
    tags.run().succeeds().prints("1\n2\n3");
    let found = sandbox.udocker(["-q", "search", "odd"]);
    let found = found.env("UDOCKER_REGISTRY", &url).run().succeeds();
    assert!(found.stdout.starts_with("lab/odd "), "{found:#?}");

    sandbox.udocker(["logout", &option]).run().succeeds();
    sandbox
        .udocker(["pull", &option, "lab/odd:1"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["requires a login", &format!("--registry={url}`")]);
}

/// A path in the name of an image belongs to the repository.
#[test]
fn a_path_in_a_reference_is_part_of_the_repository() {
    let server = guarded();
    let image = format!("{}{PATH}/lab/odd:1", server.url());
    Sandbox::new().udocker(["pull", &image]).run().exits_with(1);
    let asked = format!("GET /v2{PATH}/lab/odd/manifests/1");
    assert_eq!(server.log(), [asked]);
}
