//! `setup` of containers made by this program and by udocker.py.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::container;
use crate::support::sandbox::Sandbox;

fn mode_file(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join("execmode")).ok()
}

#[test]
fn setup_sets_and_shows_the_execution_mode() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let shows = |mode: &str| {
        let expected = format!("execmode: {mode}\nnvidiamode: False");
        sandbox
            .udocker(["setup", "one"])
            .run()
            .succeeds()
            .prints(&expected);
    };
    shows("P1");
    assert_eq!(mode_file(&directory), None);
    let fastest = match udocker::engine::namespace::probe() {
        Ok(()) => "R1",
        Err(_) => "P1",
    };
    for (asked, kept) in [
        ("P2", "P2"),
        ("p1", "P1"),
        ("P2", "P2"),
        ("F1", fastest),
        ("F4", fastest),
        ("auto", fastest),
    ] {
        let option = format!("--execmode={asked}");
        let ran = sandbox.udocker(["setup", &option, "one"]).run();
        let ran = ran.succeeds().prints("");
        assert_eq!(mode_file(&directory).as_deref(), Some(kept), "{asked}");
        let warnings = usize::from(asked.starts_with('F'));
        assert_eq!(ran.stderr.lines().count(), warnings, "{ran:#?}");
        let quiet = sandbox.udocker(["-q", "setup", &option, "one"]).run();
        assert_eq!(quiet.succeeds().stderr, "");
        shows(kept);
    }
    // The file may come from an untrusted archive.
    fs::write(directory.join("execmode"), "P\x1b[2J").unwrap();
    shows("P\\u{1b}[2J");
}

#[test]
fn refused_setup_changes_nothing() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let setup = |option: &str, name: &str| sandbox.udocker(["setup", option, name]).run();
    setup("--execmode=X9", "one")
        .exits_with(2)
        .errs_in_one_line(&["'X9' is not an execution mode"]);
    setup("--execmode=P2", "two")
        .exits_with(1)
        .errs_in_one_line(&["'two'"]);
    sandbox.udocker(["protect", "one"]).run().succeeds();
    setup("--execmode=P2", "one")
        .exits_with(1)
        .errs_in_one_line(&["protected"]);
    sandbox.udocker(["unprotect", "one"]).run().succeeds();
    assert_eq!(mode_file(&directory), None);
    fs::write(directory.join("execmode"), "F3").unwrap();
    setup("--execmode=P1", "one")
        .exits_with(1)
        .errs_in_one_line(&["changed inside by udocker.py for mode F3"]);
    assert_eq!(mode_file(&directory).as_deref(), Some("F3"));
}

#[test]
fn fixperm_gives_the_owner_access() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let root = directory.join("ROOT");
    let outside = sandbox.write("outside", "");
    symlink(&outside, root.join("etc/link")).unwrap();
    fs::write(root.join("etc/file"), "").unwrap();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    set(&outside, 0o400);
    set(&root.join("etc/file"), 0o4010);
    set(&root.join("etc"), 0o020);
    sandbox
        .udocker(["setup", "--fixperm", "one"])
        .run()
        .succeeds()
        .prints("");
    assert_eq!(mode(&root.join("etc")), 0o720);
    assert_eq!(mode(&root.join("etc/file")), 0o4610);
    assert_eq!(mode(&outside), 0o400);
}

/// Makes the files that udocker.py 1.3.17 leaves in a container after a run in mode R1 with a
/// volume at `/data/in`.
fn leave_binds(directory: &Path) {
    let root = directory.join("ROOT");
    for path in [
        ".bind_orig_files",
        ".mountpoints",
        "ROOT/.bind_host_files",
        "ROOT/data/in",
    ] {
        fs::create_dir_all(directory.join(path)).unwrap();
    }
    let passwd = "root:x:0:0::/there:/bin/sh\n";
    fs::write(directory.join(".bind_orig_files/#etc#passwd"), passwd).unwrap();
    let _ = fs::remove_file(root.join("etc/passwd"));
    symlink("/.bind_host_files/#etc#passwd", root.join("etc/passwd")).unwrap();
    let _ = symlink("#", directory.join(".mountpoints/#data#in"));
    fs::write(directory.join("execmode"), "R1").unwrap();
}

fn passwd_of(directory: &Path) -> String {
    fs::read_to_string(directory.join("ROOT/etc/passwd")).unwrap_or_default()
}

#[test]
fn purge_restores_files_replaced_by_modes_r() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let root = directory.join("ROOT");
    // Leaving mode R1 has the same effect as `--purge`; setting R1 again has none.
    for option in ["--purge", "--execmode=P2", "--execmode=R1"] {
        leave_binds(&directory);
        sandbox
            .udocker(["setup", option, "one"])
            .run()
            .succeeds()
            .prints("");
        let is_left = option == "--execmode=R1";
        assert_eq!(passwd_of(&directory).starts_with("root:"), !is_left);
        for path in [
            "ROOT/data",
            ".bind_orig_files",
            ".mountpoints",
            "ROOT/.bind_host_files",
        ] {
            assert_eq!(directory.join(path).exists(), is_left, "{option} {path}");
        }
    }
    sandbox
        .udocker(["setup", "--purge", "one"])
        .run()
        .succeeds();

    // An untrusted image may hold symbolic links out of the rootfs.
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(directory.join(".bind_orig_files")).unwrap();
    fs::write(directory.join(".bind_orig_files/#away#file"), "x").unwrap();
    symlink(&outside, root.join("away")).unwrap();
    sandbox
        .udocker(["setup", "--purge", "one"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["away"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn run_export_and_clone_restore_files_replaced_by_modes_r() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    fs::create_dir(directory.join("ROOT/there")).unwrap();
    for arguments in [
        &["run", "--nobanner", "one", "sh", "-c", "echo $HOME"][..],
        &["export", "-o", "tree.tar", "one"],
        &["export", "--clone", "-o", "clone.tar", "one"],
        &["clone", "--name=two", "one"],
    ] {
        leave_binds(&directory);
        fs::write(directory.join("execmode"), "P1").unwrap();
        let ran = sandbox.udocker(arguments).run().succeeds();
        let is_run = arguments[0] == "run";
        assert!(!is_run || ran.text() == "/there", "{ran:#?}");
        assert!(passwd_of(&directory).starts_with("root:"), "{arguments:?}");
        assert!(!directory.join(".bind_orig_files").exists());
        assert!(!directory.join("ROOT/.bind_host_files").exists());
    }
    let two = sandbox.store().join("containers/two");
    assert!(passwd_of(&two).starts_with("root:"));

    // `run` works even where the files cannot be restored.
    leave_binds(&directory);
    fs::write(directory.join("execmode"), "P1").unwrap();
    for path in [".bind_orig_files", "ROOT/etc", ""] {
        let mode = fs::Permissions::from_mode(0o500);
        fs::set_permissions(directory.join(path), mode).unwrap();
    }
    let ran = sandbox.udocker(["run", "--nobanner", "one", "true"]).run();
    assert_eq!(ran.succeeds().stderr, "");
}

#[test]
fn nvidia_option_copies_the_driver_of_the_host() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let libraries = directory.join("ROOT/usr/lib/x86_64-linux-gnu");
    let setup = |path: &Path, options: &[&str]| {
        let arguments = ["setup", "--nvidia"].iter().chain(options).chain(&["one"]);
        let invocation = sandbox.udocker(arguments);
        invocation.env("LD_LIBRARY_PATH", path).run().succeeds()
    };
    if !Path::new("/dev/nvidiactl").exists() {
        let ran = setup(&sandbox.path("nowhere"), &[]);
        assert_eq!(
            ran.stderr,
            "Warning: this machine has no NVIDIA libraries\n"
        );
        assert!(!directory.join("nvidia").exists());
    }
    sandbox.write("driver/libcuda.so.550", "driver");
    sandbox.write("driver/libother.so", "other");
    symlink("libcuda.so.550", sandbox.path("driver/libcuda.so.1")).unwrap();
    setup(&sandbox.path("driver"), &[]).prints("");
    assert_eq!(
        fs::read_to_string(libraries.join("libcuda.so.1")).unwrap(),
        "driver"
    );
    assert_eq!(
        fs::read_link(libraries.join("libcuda.so.1")).unwrap(),
        Path::new("libcuda.so.550")
    );
    assert!(!libraries.join("libother.so").exists());
    sandbox
        .udocker(["setup", "one"])
        .run()
        .succeeds()
        .prints("execmode: P1\nnvidiamode: True");

    sandbox.write("driver/libcuda.so.550", "newer");
    let ran = setup(&sandbox.path("driver"), &[]);
    assert!(ran.stderr.contains("`--force` overwrites them"), "{ran:#?}");
    assert_eq!(
        fs::read_to_string(libraries.join("libcuda.so.1")).unwrap(),
        "driver"
    );
    setup(&sandbox.path("driver"), &["--force"]).prints("");
    assert_eq!(
        fs::read_to_string(libraries.join("libcuda.so.1")).unwrap(),
        "newer"
    );
}
