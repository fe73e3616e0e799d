//! Containers that are copied from another container of the same image.
//!
//! The layers are damaged after the first container has been made, so each further container was
//! copied. Image trees are removed, since containers could also be cloned from these.

use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use udocker::host::file_system::FileSystem;

use super::image_trees::{IMAGE, damage_layers, with_kinds};
use crate::support::archives::root_of;
use crate::support::requirement::skip;
use crate::support::sandbox::Sandbox;
use crate::support::tree;
use crate::support::xattrs;

/// A sandbox with a first container `a` whose layers are damaged. `None` where the file system does
/// not give each change a new ctime.
fn sandbox() -> Option<Sandbox> {
    let system = FileSystem::of(&std::env::temp_dir()).unwrap();
    if system.dates_every_change() {
        let sandbox = with_kinds();
        assert!(create(&sandbox, "a").contains("unpacking"));
        damage_layers(&sandbox);
        Some(sandbox)
    } else {
        skip(&format!(
            "the file system does not date every change to a file: {system}"
        ));
        None
    }
}

fn create(sandbox: &Sandbox, name: &str) -> String {
    let create = ["create", &format!("--name={name}"), IMAGE];
    let ran = sandbox.udocker(create).run().succeeds();
    for tree in sandbox.image_trees() {
        fs::remove_dir_all(tree).unwrap();
    }
    ran.stderr
}

/// Creates a container by copying another one, which prints nothing about layers.
#[track_caller]
fn copy(sandbox: &Sandbox, name: &str) {
    assert_eq!(create(sandbox, name), "");
}

/// Asserts that `create` uses the damaged layers, and so fails.
#[track_caller]
fn assert_unpacks(sandbox: &Sandbox) {
    let ran = sandbox.udocker(["create", IMAGE]).run().exits_with(1);
    ran.errs_in_one_line(&["layer"]);
    let staging = sandbox.store().join(".containers.staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn second_container_is_copied_from_unchanged_files_of_the_first() {
    let Some(sandbox) = sandbox() else {
        return;
    };
    let first = root_of(&sandbox, "a");
    let unpacked = tree::read(&first);
    // Changes that a run typically leaves behind.
    fs::write(first.join("etc/new"), "").unwrap();
    fs::create_dir_all(first.join("work/deep")).unwrap();
    fs::write(first.join("work/deep/result"), "").unwrap();
    symlink("new", first.join("link")).unwrap();
    fs::set_permissions(first.join("work"), Permissions::from_mode(0o300)).unwrap();
    fs::set_permissions(first.join("etc"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&first, Permissions::from_mode(0o700)).unwrap();

    copy(&sandbox, "b");
    tree::assert_same("b", &tree::read(&root_of(&sandbox, "b")), &unpacked);
    // The copy can be the source of further copies, even when the first container is gone.
    sandbox.udocker(["rm", "a"]).run().succeeds();
    copy(&sandbox, "c");
    tree::assert_same("c", &tree::read(&root_of(&sandbox, "c")), &unpacked);
    fs::write(root_of(&sandbox, "c").join("etc/file"), "CONTENT").unwrap();
    copy(&sandbox, "d");
    tree::assert_same("d", &tree::read(&root_of(&sandbox, "d")), &unpacked);

    // With a limit on unpacked data, or without trees, the layers are used.
    for setting in [
        ("UDOCKER_MAX_UNPACKED_MB", "9"),
        ("UDOCKER_IMAGE_TREES", "false"),
    ] {
        sandbox
            .udocker(["create", IMAGE])
            .env(setting.0, setting.1)
            .run()
            .exits_with(1)
            .errs_in_one_line(&["layer"]);
    }
}

fn fingerprints(sandbox: &Sandbox) -> Vec<PathBuf> {
    let listing = fs::read_dir(sandbox.store().join(".containers.fingerprints"));
    listing
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// A change to the tree of a container.
type Change = fn(&Path);

const CHANGES: &[(&str, Change)] = &[
    ("content in place, with the time set back", |root| {
        let path = root.join("etc/file");
        let before = fs::metadata(&path).unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"CONTENT").unwrap();
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        file.set_times(times).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.len(), after.mtime()), (before.len(), before.mtime()));
    }),
    ("a mode", |root| {
        fs::set_permissions(root.join("set"), Permissions::from_mode(0o755)).unwrap();
    }),
    ("a time", |root| {
        let file = OpenOptions::new()
            .write(true)
            .open(root.join("old"))
            .unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }),
    ("a file that is gone", |root| {
        fs::remove_file(root.join("empty")).unwrap();
    }),
    ("a file with another name", |root| {
        fs::rename(root.join("empty"), root.join("full")).unwrap();
    }),
    ("a file in another place", |root| {
        fs::rename(root.join("empty"), root.join("etc/empty")).unwrap();
    }),
    ("one more name", |root| {
        fs::hard_link(root.join("empty"), root.join("etc/empty")).unwrap();
    }),
    ("one name less", |root| {
        fs::remove_file(root.join("etc/hard")).unwrap();
    }),
    ("a new file of the same name", |root| {
        let path = root.join("upper");
        let content = fs::read(&path).unwrap();
        fs::write(root.join("new"), content).unwrap();
        fs::rename(root.join("new"), &path).unwrap();
    }),
    ("a new link of the same name", |root| {
        let path = root.join("etc/soft");
        let target = fs::read_link(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(target, &path).unwrap();
    }),
    ("a directory with another name", |root| {
        fs::rename(root.join("sticky"), root.join("stuck")).unwrap();
    }),
    ("a directory that is gone", |root| {
        fs::remove_dir(root.join("sticky")).unwrap();
    }),
    ("a directory replaced by a link to it", |root| {
        fs::rename(root.join("etc"), root.join("moved")).unwrap();
        symlink("moved", root.join("etc")).unwrap();
    }),
    ("two directories that changed places", |root| {
        fs::rename(root.join("one"), root.join("new")).unwrap();
        fs::rename(root.join("other"), root.join("one")).unwrap();
        fs::rename(root.join("new"), root.join("other")).unwrap();
    }),
    ("a directory that its owner may not enter", |root| {
        fs::set_permissions(root.join("sticky"), Permissions::from_mode(0o200)).unwrap();
    }),
    ("an attribute", |root| {
        // Any change will do where the file system has no extended attributes.
        if !xattrs::set(&root.join("noted"), "user.note", "another one") {
            fs::remove_file(root.join("noted")).unwrap();
        }
    }),
    ("an attribute of a directory", |root| {
        if !xattrs::set(&root.join("marked"), "user.note", "another one") {
            fs::remove_dir_all(root.join("marked")).unwrap();
        }
    }),
    ("a new attribute of a directory", |root| {
        if !xattrs::set(&root.join("sticky"), "user.note", "a new one") {
            fs::remove_dir_all(root.join("sticky")).unwrap();
        }
    }),
    ("no root at all", |root| {
        fs::rename(root, root.with_file_name("gone")).unwrap();
    }),
];

#[test]
fn changed_containers_are_not_copied() {
    for (what, change) in CHANGES {
        let Some(sandbox) = sandbox() else {
            return;
        };
        // Without the change, the container is copied.
        copy(&sandbox, "b");
        sandbox.udocker(["rm", "b"]).run().succeeds();
        change(&root_of(&sandbox, "a"));
        println!("{what}");
        assert_unpacks(&sandbox);
    }
}

#[test]
fn damaged_fingerprints_are_ignored() {
    let Some(sandbox) = sandbox() else {
        return;
    };
    let [path] = &fingerprints(&sandbox)[..] else {
        panic!("one fingerprint");
    };
    let fingerprint = fs::read_to_string(path).unwrap();
    for damaged in ["", "{}", NOTHING, &fingerprint[..fingerprint.len() / 2]] {
        fs::write(path, damaged).unwrap();
        assert_unpacks(&sandbox);
    }
    fs::write(path, fingerprint).unwrap();
    copy(&sandbox, "b");
}

/// The fingerprint of a tree without a root.
const NOTHING: &str = r#"{"files":{},"directories":{}}"#;

#[test]
fn cloned_containers_are_not_copied() {
    let Some(sandbox) = sandbox() else {
        return;
    };
    sandbox
        .udocker(["clone", "--name=copy", "a"])
        .run()
        .succeeds();
    assert_eq!(fingerprints(&sandbox).len(), 1);
    sandbox.udocker(["rm", "a"]).run().succeeds();
    assert_eq!(fingerprints(&sandbox).len(), 0);
    assert_unpacks(&sandbox);
}
