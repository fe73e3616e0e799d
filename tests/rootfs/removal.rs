//! Removing and measuring trees.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use udocker::progress::{Silent, Task};
use udocker::rootfs::{copy_root, remove_tree, require_unmounted, tree_size};

use crate::support::requirement::has_user_namespaces;

#[test]
fn remove_tree_removes_any_mode_and_follows_no_link() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "stays").unwrap();
    let tree = scratch.path().join("tree");
    for (index, mode) in [0o000, 0o100, 0o200, 0o400, 0o500, 0o600, 0o300]
        .into_iter()
        .enumerate()
    {
        let directory = tree.join(format!("d{index}"));
        fs::create_dir_all(directory.join("below/deeper")).unwrap();
        fs::write(directory.join("below/file"), "x").unwrap();
        symlink(&outside, directory.join("link")).unwrap();
        symlink("nowhere", directory.join("below/dangling")).unwrap();
        fs::set_permissions(directory.join("below"), Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    }
    // It can be read, but names in it cannot be looked up, and it holds no file.
    let unsearchable = tree.join("unsearchable");
    fs::create_dir_all(unsearchable.join("below")).unwrap();
    fs::set_permissions(&unsearchable, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&tree, Permissions::from_mode(0o000)).unwrap();
    remove_tree(&tree, &Silent).unwrap();
    assert!(!tree.exists());
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"stays");

    symlink(&outside, &tree).unwrap();
    remove_tree(&tree, &Silent).unwrap();
    assert!(!tree.is_symlink());
    assert!(outside.join("file").exists());
    remove_tree(&tree, &Silent).unwrap();
    remove_tree(&outside.join("file"), &Silent).unwrap();
    assert!(!outside.join("file").exists());
}

#[test]
fn remove_tree_removes_wide_directories() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    for index in 0..1200 {
        fs::create_dir_all(tree.join(format!("directory-{index}/sub"))).unwrap();
        fs::write(tree.join(format!("file-{index}")), "").unwrap();
    }
    remove_tree(&tree, &Silent).unwrap();
    assert!(!tree.exists());
}

#[test]
fn remove_tree_names_what_it_cannot_remove() {
    let message = remove_tree("/proc/self/fd".as_ref(), &Silent)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot remove '/proc/self/fd"),
        "{message}"
    );
    assert!(remove_tree("/".as_ref(), &Silent).is_err());
}

/// Set for the child process that tries to remove a file of /proc.
const REMOVES: &str = "UDOCKER_TEST_REMOVES";

#[test]
fn remove_tree_reports_an_undeletable_file_as_such() {
    if std::env::var_os(REMOVES).is_some() {
        let error = remove_tree("/proc/self/status".as_ref(), &Silent).unwrap_err();
        let expected = "cannot remove '/proc/self/status': Operation not permitted (os error 1)";
        return assert_eq!(error.to_string(), expected);
    }
    if !has_user_namespaces() {
        return;
    }
    let name = "removal::remove_tree_reports_an_undeletable_file_as_such";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(REMOVES, "1")
        .status();
    assert!(status.unwrap().success());
}

/// Set for the process that has a mount in a tree: the directory that holds both.
const HAS_MOUNT: &str = "UDOCKER_TEST_HAS_MOUNT";

#[test]
fn what_is_mounted_in_a_tree_is_neither_removed_nor_measured_nor_copied() {
    if let Some(scratch) = std::env::var_os(HAS_MOUNT) {
        return keeps_what_is_mounted(scratch.as_ref());
    }
    if !has_user_namespaces() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    for directory in ["data", "tree/deep/mnt", "tree/other"] {
        fs::create_dir_all(scratch.path().join(directory)).unwrap();
    }
    fs::write(scratch.path().join("data/precious"), vec![1; 1 << 20]).unwrap();
    let script = r#"mount --bind data tree/deep/mnt && exec "$0" "$@""#;
    let name = "removal::what_is_mounted_in_a_tree_is_neither_removed_nor_measured_nor_copied";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .current_dir(&scratch)
        .env(HAS_MOUNT, scratch.path())
        .status();
    assert!(status.unwrap().success());
    assert!(scratch.path().join("data/precious").exists());
}

/// The mount is of the same file system, so that device numbers do not tell.
fn keeps_what_is_mounted(scratch: &Path) {
    let tree = scratch.join("tree");
    let size = tree_size(&tree, &Silent).unwrap();
    assert!(size < 1 << 20, "{size}");
    let copy = scratch.join("copy");
    fs::create_dir(&copy).unwrap();
    copy_root(&tree, &copy, &Silent).unwrap();
    assert!(copy.join("deep/mnt").is_dir() && !copy.join("deep/mnt/precious").exists());
    for path in [&tree, &tree.join("deep/mnt")] {
        let error = remove_tree(path, &Silent).unwrap_err();
        let expected = format!(
            "cannot remove '{}': something is mounted there",
            tree.join("deep/mnt").display()
        );
        assert_eq!(error.to_string(), expected);
        assert!(error.is_mounted());
        let told = require_unmounted(path).unwrap_err();
        assert_eq!(told.to_string(), expected);
    }
    require_unmounted(&tree.join("deep/mnt/below")).unwrap();
    assert!(scratch.join("data/precious").exists());
}

#[test]
fn tree_size_counts_blocks_and_each_inode_once() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let empty = tree_size(&tree, &Silent).unwrap();
    fs::write(tree.join("a/b/file"), vec![b'x'; 1 << 20]).unwrap();
    fs::hard_link(tree.join("a/b/file"), tree.join("linked")).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let size = tree_size(&tree, &Silent).unwrap() - empty;
    assert!(((1 << 20)..(1 << 20) + 65_536).contains(&size), "{size}");
    assert!(tree_size(&tree.join("none"), &Silent).is_err());
}

/// Counts the reported progress.
#[derive(Default)]
struct Counter(AtomicU64);

impl Task for Counter {
    fn advance(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn reset(&self, _count: u64) {}
}

#[test]
fn tree_size_and_remove_tree_report_each_file_once() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/file"), "x").unwrap();
    fs::write(tree.join("a/b/file"), "x").unwrap();
    symlink("nowhere", tree.join("link")).unwrap();
    let (measured, removed) = (Counter::default(), Counter::default());
    tree_size(&tree, &measured).unwrap();
    remove_tree(&tree, &removed).unwrap();
    let counts = [measured, removed].map(|counter| counter.0.into_inner());
    assert_eq!(counts, [5, 5]);
}
