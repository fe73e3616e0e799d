//! `pull` of the distribution image over each transport and with each kind of authentication.

mod bad_registries;
mod below_a_path;
mod hints;
mod host_names;

use std::path::PathBuf;

use crate::support::prepared::{BUSYBOX, DISTRO, storage};
use crate::support::registry_server::{Auth, PASSWORD, RegistryServer, USERNAME};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

/// Pulls the image and asserts that it is listed and passes `verify`.
fn pulls_whole(sandbox: &Sandbox, registry: &RegistryServer) {
    let image = registry.reference(DISTRO);
    let udocker = |args: &[&str]| {
        let invocation = sandbox.udocker(args);
        match &registry.certificates {
            Some(files) => invocation.env("SSL_CERT_FILE", &files.ca),
            None => invocation,
        }
    };
    udocker(&["pull", &image]).run().succeeds();
    udocker(&["verify", &image]).run().succeeds();
    let listed = udocker(&["images"]).run().succeeds();
    let rows: Vec<&str> = listed.text().lines().skip(1).collect();
    assert_eq!(rows.len(), 1, "{listed:#?}");
    assert!(rows[0].contains("lab/distro:1 "), "{listed:#?}");
}

#[test]
fn pull_over_plain_http() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    pulls_whole(&Sandbox::new(), &registry);
}

#[test]
fn pull_over_tls_with_a_private_ca() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, true);
    pulls_whole(&Sandbox::new(), &registry);
}

#[test]
fn pull_over_tls_with_an_unknown_ca_needs_insecure() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, true);
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
fn pull_with_basic_authentication() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::Basic, false);
    let sandbox = Sandbox::new();
    log_in(&sandbox, &registry);
    pulls_whole(&sandbox, &registry);
}

#[test]
fn pull_with_token_authentication() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::Token, false);
    let sandbox = Sandbox::new();
    log_in(&sandbox, &registry);
    pulls_whole(&sandbox, &registry);
}

#[test]
fn pull_without_credentials_fails() {
    let Some(storage) = storage() else { return };
    for auth in [Auth::Basic, Auth::Token] {
        let registry = RegistryServer::over(&storage.path, auth, false);
        let sandbox = Sandbox::new();
        sandbox
            .udocker(["pull", &registry.reference(BUSYBOX)])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[BUSYBOX]);
        assert_eq!(sandbox.leftovers(), Vec::<PathBuf>::new(), "{auth:?}");
    }
}

#[test]
fn pull_does_not_fetch_present_layers() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let image = registry.reference(BUSYBOX);
    let blobs = || {
        let modified = |path: PathBuf| {
            let data = std::fs::metadata(&path).expect("a blob");
            (path, data.modified().expect("a time"))
        };
        let found = sandbox.leftovers().into_iter().map(modified);
        found.collect::<Vec<_>>()
    };
    sandbox.udocker(["pull", &image]).run().succeeds();
    let before = blobs();
    assert!(!before.is_empty());
    sandbox.udocker(["pull", &image]).run().succeeds();
    assert_eq!(blobs(), before);
}

#[test]
fn concurrent_pulls_leave_one_whole_image() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    let started: Vec<_> = (0..2)
        .map(|_| sandbox.udocker(["-q", "pull", &image]).spawn())
        .collect();
    for process in started {
        assert!(process.wait().success());
    }
    sandbox.udocker(["verify", &image]).run().succeeds();
    assert_eq!(
        sandbox.leftovers().len(),
        1 + 4,
        "the image, three layers and the configuration, nothing else: {:?}",
        sandbox.leftovers()
    );
}

/// Writes the credentials to Docker's configuration file; `login.rs` tests `login`.
fn log_in(sandbox: &Sandbox, registry: &RegistryServer) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    let config = serde_json::json!({"auths": {registry.host(): {"auth": auth}}});
    sandbox.write("home/.docker/config.json", config.to_string());
}

#[test]
fn pull_reports_progress_in_lines_without_a_terminal() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(BUSYBOX);
    let sandbox = Sandbox::new();
    let told = sandbox.udocker(["pull", &image]).run().succeeds();
    assert_eq!(told.stdout, "", "{told:#?}");
    assert!(!told.stderr.contains(['\r', '\x1b']), "{told:#?}");
    assert!(told.stderr.contains("downloading"), "{told:#?}");
    let sandbox = Sandbox::new();
    let quiet = sandbox.udocker(["-q", "pull", &image]).run().succeeds();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let quiet = sandbox.udocker(["-q", "create", &image]).run().succeeds();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn pull_draws_progress_on_a_terminal() {
    let Some(storage) = storage() else { return };
    if !has_tools(&["script"]) {
        return;
    }
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(DISTRO);
    let sandbox = Sandbox::new();
    let in_terminal = r#"exec script --quiet --return --command "$0 $*" /dev/null"#;
    let drawn = sandbox
        .udocker(["pull", &image])
        .env("TERM", "xterm")
        .through(&["sh", "-c", in_terminal])
        .run()
        .succeeds();
    // Progress bars are redrawn, which takes control sequences.
    assert!(drawn.stdout.contains('\x1b'), "{drawn:#?}");
    assert!(drawn.stdout.contains("downloading"), "{drawn:#?}");
}
