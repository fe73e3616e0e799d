//! `export`, and `import` of what it wrote.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::support::archives::{root_of, tool};
use crate::support::entry_kinds::{copy_both_ways, with_every_kind};
use crate::support::layer_builder::MTIME;
use crate::support::sandbox::Sandbox;
use crate::support::tree;

#[test]
fn export_and_clone_leave_out_sockets() {
    let sandbox = with_every_kind();
    let root = root_of(&sandbox, "kinds");
    // Through /proc, since the path of a socket address is limited to 108 bytes.
    let opened = fs::File::open(&root).unwrap();
    let short = format!("/proc/self/fd/{}/etc/socket", opened.as_raw_fd());
    let _socket = UnixListener::bind(short).unwrap();
    fs::hard_link(root.join("etc/socket"), root.join("socket")).unwrap();
    copy_both_ways(&sandbox);
    for name in ["etc/socket", "socket"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    assert_same(&sandbox, "imported", "clone");
    let count = |name| tree::read_in_seconds(&root_of(&sandbox, name)).len();
    assert_eq!(count("clone"), count("kinds"));
}

fn assert_same(sandbox: &Sandbox, one: &str, other: &str) {
    let (one, other) = (root_of(sandbox, one), root_of(sandbox, other));
    tree::assert_same(
        "copy",
        &tree::read_in_seconds(&other),
        &tree::read_in_seconds(&one),
    );
    let [first, second] = [&one, &other].map(|root| fs::metadata(root.join("sparse")).unwrap());
    assert_eq!(second.blocks(), first.blocks(), "holes were filled");
}

#[test]
fn exported_tree_is_imported_unchanged() {
    let sandbox = with_every_kind();
    // `export` includes a file that its owner has made unreadable.
    let locked = root_of(&sandbox, "kinds").join("etc/file");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o200)).unwrap();
    let ran = sandbox
        .udocker(["export", "-o", "kinds.tar", "kinds"])
        .run()
        .succeeds()
        .prints("");
    assert_eq!(ran.stderr, "");
    let mode = fs::metadata(&locked).unwrap().mode();
    assert_eq!(mode & 0o777, 0o200);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o644)).unwrap();
    let exported = fs::metadata(sandbox.path("kinds.tar")).unwrap().len();
    assert!(exported < 1_000_000, "{exported}");

    sandbox
        .udocker(["export", "-o", "kinds.tar", "kinds"])
        .run()
        .succeeds();
    sandbox
        .udocker(["import", "--tocontainer", "--name=copy", "kinds.tar"])
        .run()
        .succeeds();
    assert_same(&sandbox, "kinds", "copy");
}

#[test]
fn tar_unpacks_an_export_that_belongs_to_root() {
    let sandbox = with_every_kind();
    for args in [&["export", "kinds"][..], &["export", "-", "kinds"]] {
        sandbox
            .udocker(args)
            .through(&["/bin/sh", "-c", "exec \"$@\" > kinds.tar", "sh"])
            .run()
            .succeeds();
        let file = sandbox.path("kinds.tar").display().to_string();
        let listing = tool("tar", &["--numeric-owner", "-tvf", &file]);
        assert!(
            listing.lines().all(|line| line.contains(" 0/0 ")),
            "{listing}"
        );
        let target = sandbox.path("unpacked");
        fs::create_dir_all(&target).unwrap();
        tool(
            "tar",
            &[
                "-C",
                target.to_str().unwrap(),
                "--no-same-owner",
                "--xattrs",
                "-xpSf",
                &file,
            ],
        );
        let mut expected = tree::read_in_seconds(&root_of(&sandbox, "kinds"));
        let mut found = tree::read_in_seconds(&target);
        // The root directory has the time of the unpacking.
        expected.remove(".");
        found.remove(".");
        tree::assert_same("unpacked by tar", &found, &expected);
        let time = fs::metadata(target.join("etc/file")).unwrap().mtime();
        assert_eq!(time, MTIME);
    }
}

#[test]
fn export_clone_and_import_clone_keep_metadata() {
    let sandbox = with_every_kind();
    sandbox
        .udocker(["export", "--clone", "-o", "clone.tar", "kinds"])
        .run()
        .succeeds();
    let config = |name: &str| sandbox.udocker(["inspect", name]).run().succeeds().stdout;
    // Scripts give both options, as udocker.py accepts them.
    for (name, options) in [
        ("copy", &["--clone"][..]),
        ("other", &["--clone", "--tocontainer"]),
        ("third", &["--tocontainer", "--clone"]),
    ] {
        let named = format!("--name={name}");
        let arguments = ["import", &named, "clone.tar"];
        let made = sandbox.udocker(arguments.iter().chain(options)).run();
        assert_eq!(made.succeeds().text().len(), 36, "{options:?}");
        assert_same(&sandbox, "kinds", name);
        assert_eq!(config("kinds"), config(name));
    }
    let ps = sandbox.udocker(["ps"]).run().succeeds();
    assert_eq!(ps.stdout.matches("IMPORTED:unknown").count(), 4, "{ps:#?}");
}

#[test]
fn export_replaces_a_file_only_once_it_is_complete() {
    let sandbox = with_every_kind();
    sandbox.write("out.tar", "before");
    sandbox
        .udocker(["export", "-o", "out.tar", "missing"])
        .run()
        .exits_with(1);
    assert_eq!(
        fs::read_to_string(sandbox.path("out.tar")).unwrap(),
        "before"
    );
    sandbox
        .udocker(["export", "-o", "out.tar", "kinds"])
        .run()
        .succeeds();
    assert!(fs::metadata(sandbox.path("out.tar")).unwrap().len() > 1024);
    sandbox
        .udocker(["export", "-o", "nowhere/out.tar", "kinds"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["nowhere/out.tar"]);
}

#[test]
fn export_ends_quietly_on_a_broken_pipe() {
    let sandbox = with_every_kind();
    let ran = sandbox
        .udocker(["export", "kinds"])
        .through(&[
            "/bin/sh",
            "-c",
            "\"$@\" | head -c 10 > head; cat head",
            "sh",
        ])
        .run();
    assert_eq!(ran.stderr, "", "{ran:#?}");
}
