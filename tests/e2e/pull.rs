//! `pull` of the distribution image over every transport and past every guard.

use crate::prepared::{BUSYBOX, DISTRO, storage};
use crate::registry::{Guard, PASSWORD, Registry, Transport, USER};
use crate::support::sandbox::Sandbox;

/// Pulls the image with these variables set and asserts that it is there and whole.
fn pulls_whole(sandbox: &Sandbox, registry: &Registry) {
    let image = registry.reference(DISTRO);
    let ca = registry.ca();
    let udocker = |args: &[&str]| sandbox.udocker(args).env("SSL_CERT_FILE", &ca);
    udocker(&["pull", &image]).run().succeeds();
    udocker(&["verify", &image]).run().succeeds();
    let listed = udocker(&["images"]).run().succeeds();
    let rows: Vec<&str> = listed.text().lines().skip(1).collect();
    assert_eq!(rows.len(), 1, "{listed:#?}");
    assert!(rows[0].contains("lab/distro:1 "), "{listed:#?}");
}

#[test]
fn over_plain_http() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    pulls_whole(&Sandbox::new(), &registry);
}

#[test]
fn over_tls_with_a_ca_of_its_own() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Tls, Guard::Open);
    pulls_whole(&Sandbox::new(), &registry);
}

#[test]
fn over_tls_with_an_unknown_ca_fails_unless_insecure() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Tls, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(BUSYBOX);
    sandbox
        .udocker(["pull", &image])
        .run()
        .exits_with(1)
        .errs_in_one_line(&[BUSYBOX, "certificate"]);
    sandbox
        .udocker(["--insecure", "pull", &image])
        .run()
        .succeeds();
}

#[test]
fn with_basic_authentication() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Basic);
    let sandbox = Sandbox::new();
    log_in(&sandbox, &registry);
    pulls_whole(&sandbox, &registry);
}

#[test]
fn with_token_authentication() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Token);
    let sandbox = Sandbox::new();
    log_in(&sandbox, &registry);
    pulls_whole(&sandbox, &registry);
}

#[test]
fn without_credentials_a_guarded_image_stays_closed() {
    let Some(storage) = storage() else { return };
    for guard in [Guard::Basic, Guard::Token] {
        let registry = Registry::start(&storage.path, Transport::Http, guard);
        let sandbox = Sandbox::new();
        sandbox
            .udocker(["pull", &registry.reference(BUSYBOX)])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[BUSYBOX]);
        assert_eq!(
            sandbox.leftovers(),
            Vec::<std::path::PathBuf>::new(),
            "{guard:?}"
        );
    }
}

#[test]
fn a_layer_that_is_there_is_not_fetched_again() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(BUSYBOX);
    let blobs = || {
        let mut found: Vec<_> = std::fs::read_dir(sandbox.store().join("layers"))
            .expect("a store")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                (
                    entry.file_name(),
                    entry
                        .metadata()
                        .expect("a file")
                        .modified()
                        .expect("a time"),
                )
            })
            .collect();
        found.sort();
        found
    };
    sandbox.udocker(["pull", &image]).run().succeeds();
    let before = blobs();
    assert!(!before.is_empty());
    sandbox.udocker(["pull", &image]).run().succeeds();
    assert_eq!(blobs(), before);
}

#[test]
fn two_at_once_leave_one_whole_image() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    let started: Vec<_> = (0..2)
        .map(|_| sandbox.udocker(["-q", "pull", &image]).spawn())
        .collect();
    for process in started {
        assert!(process.wait().success());
    }
    sandbox.udocker(["verify", &image]).run().succeeds();
    let layers = std::fs::read_dir(sandbox.store().join("layers"))
        .expect("a store")
        .count();
    assert_eq!(
        layers, 4,
        "three layers and the configuration, nothing else"
    );
}

/// Writes the credentials where Docker keeps them; `login` has tests of its own.
fn log_in(sandbox: &Sandbox, registry: &Registry) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let host = registry
        .url()
        .split_once("//")
        .map(|(_, host)| host.to_string());
    let host = host.expect("a URL has two slashes");
    let config = serde_json::json!({"auths": {host: {"auth": auth}}});
    sandbox.write("home/.docker/config.json", config.to_string());
}
