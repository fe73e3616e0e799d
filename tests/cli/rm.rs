//! `rm`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::container;
use crate::support::image::ImageBuilder;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::prepared::{empty_registry, pulled};
use crate::support::sandbox::Sandbox;

#[test]
fn rm_removes_a_container_with_all_its_names() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let id = directory.file_name().unwrap().to_str().unwrap();
    sandbox.udocker(["name", "one", "second"]).run().succeeds();
    let removed = sandbox.udocker(["rm", "second"]).run().succeeds();
    let removed = removed.prints("");
    assert_eq!(removed.stderr, format!("Info: deleted container: {id}\n"));
    sandbox.assert_empty();
}

#[test]
fn rm_of_a_link_keeps_the_files_elsewhere_and_says_so() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let elsewhere = sandbox.path("moved");
    fs::rename(&directory, &elsewhere).unwrap();
    symlink(&elsewhere, directory.with_file_name("moved")).unwrap();
    let removed = sandbox.udocker(["rm", "moved"]).run().succeeds();
    let expected = format!(
        "Info: deleted the link moved; the container's files stay in '{}'\n",
        elsewhere.display()
    );
    assert_eq!(removed.stderr, expected);
    assert!(elsewhere.join("ROOT").is_dir());
}

#[test]
fn rm_removes_what_it_can_and_names_what_it_cannot() {
    let sandbox = Sandbox::new();
    container::empty(&sandbox);
    let ran = sandbox.udocker(["-q", "rm", "absent", "one"]).run();
    ran.exits_with(1)
        .errs_in_one_line(&["invalid container id or name 'absent': there is no such container"]);
    sandbox.assert_no_containers();
}

#[test]
fn rm_and_rmi_remove_files_of_any_mode() {
    let Some(registry) = empty_registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let closed = LayerBuilder::new()
        .entry(TarEntry::new(b'5', "closed/").mode(0))
        .entry(TarEntry::new(b'0', "closed/file").mode(0).content("x"))
        .finish();
    let image = ImageBuilder::busybox().layer(closed);
    let image = pulled(&sandbox, &registry, "closed", &image);
    let output = |args: &[&str]| {
        let ran = sandbox.udocker(args).run().succeeds();
        ran.text().to_string()
    };
    output(&["create", "--name=box", &image]);
    let script = "cat /closed/file; mkdir -p /a/b/c; chmod 0 /a/b/c /a/b /a /closed; chmod 555 /";
    let printed = output(&["run", "--nobanner", "box", "sh", "-c", script]);
    assert_eq!(printed, "x");
    output(&["rm", "box"]);
    let blobs = sandbox.store().join("layers");
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    };
    for blob in fs::read_dir(&blobs).expect("a store").flatten() {
        if blob.file_name().to_string_lossy().starts_with("sha256:") {
            set_mode(&blob.path(), 0o400);
        }
    }
    output(&["rmi", &image]);
    sandbox.assert_empty();
}
