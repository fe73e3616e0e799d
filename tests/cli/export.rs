//! `export`, and `import` of what it wrote.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::archives::{root_of, tool};
use crate::support::layer_builder::{LayerBuilder, MTIME, TarEntry};
use crate::support::sandbox::Sandbox;
use crate::tree;

/// A layer that has all that a tree can have.
pub fn zoo_layer() -> Vec<u8> {
    let long = "d/".repeat(70) + "file";
    LayerBuilder::new()
        .directory("etc")
        .file("etc/file", "content")
        .hard_link("etc/hard", "etc/file")
        .symlink("etc/soft", "../etc/file")
        .symlink("etc/far", "x".repeat(150))
        .file("etc/odd \u{e9}\nname", "odd")
        .file(&long, "deep")
        .hard_link("linked", &long)
        .file("empty", "")
        .entry(TarEntry::new(b'0', "set").content("x").mode(0o4755))
        .entry(TarEntry::new(b'0', "old").content("x").mtime(-86_400))
        .entry(TarEntry::new(b'5', "sticky").mode(0o1777))
        .entry(TarEntry::new(b'6', "pipe"))
        .hard_link("etc/pipe", "pipe")
        .hard_link("etc/softer", "etc/soft")
        .entry(TarEntry::new(b'0', "noted").pax("SCHILY.xattr.user.note", "a file's"))
        .entry(TarEntry::new(b'5', "marked").pax("SCHILY.xattr.user.note", "a directory's"))
        .file("marked/noted", "")
        .entry(
            TarEntry::new(b'0', "sparse")
                .pax("GNU.sparse.size", "10000000")
                .pax("GNU.sparse.map", "4096,4,9000000,4")
                .content("headtail"),
        )
        .finish()
}

/// A sandbox with a container `zoo` of that layer.
pub fn zoo() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["import", "--tocontainer", "--name=zoo", "-"])
        .stdin(zoo_layer())
        .run()
        .succeeds();
    sandbox
}

/// Sockets mean nothing without their process.
/// Makes `clone` and `imported` of the container `zoo`.
pub fn copy_both_ways(sandbox: &Sandbox) {
    for args in [
        &["clone", "--name=clone", "zoo"][..],
        &["export", "-o", "zoo.tar", "zoo"],
        &["import", "--tocontainer", "--name=imported", "zoo.tar"],
    ] {
        sandbox.udocker(args).run().succeeds();
    }
}

#[test]
fn sockets_are_left_out_under_all_their_names() {
    let sandbox = zoo();
    let root = root_of(&sandbox, "zoo");
    // By a short name, since others have no room in an address.
    let opened = fs::File::open(&root).unwrap();
    let short = format!("/proc/self/fd/{}/etc/socket", opened.as_raw_fd());
    let _socket = UnixListener::bind(short).unwrap();
    fs::hard_link(root.join("etc/socket"), root.join("socket")).unwrap();
    copy_both_ways(&sandbox);
    for name in ["etc/socket", "socket"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    assert_same(&sandbox, "imported", "clone");
    let count = |name| tree::read(&root_of(&sandbox, name)).len();
    assert_eq!(count("clone"), count("zoo"));
}

fn assert_same(sandbox: &Sandbox, one: &str, other: &str) {
    let (one, other) = (root_of(sandbox, one), root_of(sandbox, other));
    let differences = tree::differences(&tree::read(&one), &tree::read(&other));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let [first, second] = [&one, &other].map(|root| fs::metadata(root.join("sparse")).unwrap());
    assert_eq!(second.blocks(), first.blocks(), "holes were filled");
}

#[test]
fn an_exported_tree_is_imported_as_it_was() {
    let sandbox = zoo();
    // A file that its owner made unreadable is his all the same.
    let locked = root_of(&sandbox, "zoo").join("etc/file");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o200)).unwrap();
    let ran = sandbox
        .udocker(["export", "-o", "zoo.tar", "zoo"])
        .run()
        .succeeds()
        .prints("");
    assert_eq!(ran.stderr, "");
    let mode = fs::metadata(&locked).unwrap().mode();
    assert_eq!(mode & 0o777, 0o200);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o644)).unwrap();
    let exported = fs::metadata(sandbox.path("zoo.tar")).unwrap().len();
    assert!(exported < 1_000_000, "{exported}");

    sandbox
        .udocker(["export", "-o", "zoo.tar", "zoo"])
        .run()
        .succeeds();
    sandbox
        .udocker(["import", "--tocontainer", "--name=copy", "zoo.tar"])
        .run()
        .succeeds();
    assert_same(&sandbox, "zoo", "copy");
}

#[test]
fn tar_unpacks_what_is_exported_and_finds_no_owner_in_it() {
    let sandbox = zoo();
    for args in [&["export", "zoo"][..], &["export", "-", "zoo"]] {
        sandbox
            .udocker(args)
            .through(&["/bin/sh", "-c", "exec \"$@\" > zoo.tar", "sh"])
            .run()
            .succeeds();
        let file = sandbox.path("zoo.tar").display().to_string();
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
        let mut expected = tree::read(&root_of(&sandbox, "zoo"));
        let mut found = tree::read(&target);
        // The top's own time is that of the unpacking.
        expected.remove(std::path::Path::new(""));
        found.remove(std::path::Path::new(""));
        let differences = tree::differences(&expected, &found);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let time = fs::metadata(target.join("etc/file")).unwrap().mtime();
        assert_eq!(time, MTIME);
    }
}

#[test]
fn a_clone_is_exported_and_imported_with_its_metadata() {
    let sandbox = zoo();
    sandbox
        .udocker(["export", "--clone", "-o", "clone.tar", "zoo"])
        .run()
        .succeeds();
    let made = sandbox
        .udocker(["import", "--clone", "--name=copy", "clone.tar"])
        .run()
        .succeeds();
    assert_eq!(made.text().len(), 36, "{made:#?}");
    assert_same(&sandbox, "zoo", "copy");
    let config = |name: &str| sandbox.udocker(["inspect", name]).run().succeeds().stdout;
    assert_eq!(config("zoo"), config("copy"));
    let ps = sandbox.udocker(["ps"]).run().succeeds();
    assert_eq!(ps.stdout.matches("IMPORTED:unknown").count(), 2, "{ps:#?}");
}

#[test]
fn an_export_replaces_a_file_once_it_is_whole() {
    let sandbox = zoo();
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
        .udocker(["export", "-o", "out.tar", "zoo"])
        .run()
        .succeeds();
    assert!(fs::metadata(sandbox.path("out.tar")).unwrap().len() > 1024);
    sandbox
        .udocker(["export", "-o", "nowhere/out.tar", "zoo"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["nowhere/out.tar"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error_to_be_told() {
    let sandbox = zoo();
    let ran = sandbox
        .udocker(["export", "zoo"])
        .through(&[
            "/bin/sh",
            "-c",
            "\"$@\" | head -c 10 > head; cat head",
            "sh",
        ])
        .run();
    assert_eq!(ran.stderr, "", "{ran:#?}");
}
