//! `clone`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use udocker::oci::{Algorithm, Digest};
use udocker::stream::HashingReader;

use crate::support::archives::{root_of, store_state};
use crate::support::entry_kinds::{copy_both_ways, with_every_kind};
use crate::support::requirement::skip;
use crate::support::tree;
use crate::support::xattrs;

#[test]
fn clone_equals_its_source_and_is_independent() {
    let sandbox = with_every_kind();
    let source = root_of(&sandbox, "kinds");
    let beside = |root: &Path, name: &str| root.with_file_name(name);
    // The records of a run concern the tree of the source only; a clone must not take them along.
    for name in ["osenv.json", "mountpoints", "mountpoint"] {
        fs::write(beside(&source, name), "{}").unwrap();
    }
    let made = sandbox
        .udocker(["clone", "--name=copy", "kinds"])
        .run()
        .succeeds();
    assert_eq!(made.text().len(), 36, "{made:#?}");
    let copy = root_of(&sandbox, "copy");
    assert_eq!(copy, root_of(&sandbox, made.text()));
    tree::assert_same("clone", &tree::read(&copy), &tree::read(&source));
    assert!(beside(&copy, "osenv.json").is_file());
    assert!(!beside(&copy, "mountpoints").exists() && !beside(&copy, "mountpoint").exists());
    let blocks = |root: &Path| fs::metadata(root.join("sparse")).unwrap().blocks();
    assert_eq!(blocks(&copy), blocks(&source), "holes were filled");

    fs::write(copy.join("etc/file"), "changed").unwrap();
    assert_eq!(
        fs::read_to_string(copy.join("etc/hard")).unwrap(),
        "changed"
    );
    assert_eq!(
        fs::read_to_string(source.join("etc/file")).unwrap(),
        "content"
    );
    sandbox.udocker(["rm", "kinds"]).run().succeeds();
    assert_eq!(
        fs::read_to_string(copy.join("etc/soft")).unwrap(),
        "changed"
    );
}

#[test]
fn clone_and_export_keep_extended_attributes() {
    let sandbox = with_every_kind();
    let root = root_of(&sandbox, "kinds");
    if !xattrs::set(&root, "user.note", "the root's") {
        return skip("the file system has no extended attributes");
    }
    copy_both_ways(&sandbox);
    for name in ["kinds", "clone", "imported"] {
        let root = root_of(&sandbox, name);
        for (path, value) in [
            (".", "the root's"),
            ("noted", "a file's"),
            ("marked", "a directory's"),
        ] {
            let value = value.escape_debug().to_string();
            let expected = [("user.note".to_string(), value)].into();
            let found = xattrs::read(&root.join(path));
            assert_eq!(found, expected, "{path} of {name}");
        }
    }
}

/// It has more pieces than a short list holds.
#[test]
fn clone_and_export_copy_files_with_many_holes() {
    const PIECES: u64 = 65_600;
    const PIECE: u64 = 4096;
    let sandbox = with_every_kind();
    let file = File::create(root_of(&sandbox, "kinds").join("pieces")).unwrap();
    for number in 0..PIECES {
        let piece = [number as u8 | 1; PIECE as usize];
        file.write_all_at(&piece, 2 * number * PIECE).unwrap();
    }
    copy_both_ways(&sandbox);
    let [original, clone, imported] = ["kinds", "clone", "imported"].map(|name| {
        let file = File::open(root_of(&sandbox, name).join("pieces")).unwrap();
        let on_disk = file.metadata().unwrap().blocks() * 512;
        assert!(on_disk < (PIECES + PIECES / 2) * PIECE, "{name}: {on_disk}");
        digest_of(file)
    });
    assert_eq!(clone, original);
    assert_eq!(imported, original);
}

fn digest_of(source: impl Read) -> Digest {
    let hashing = HashingReader::new(source, Algorithm::Sha256);
    hashing.finish().unwrap().0
}

#[test]
fn failed_clone_leaves_no_trace() {
    let sandbox = with_every_kind();
    let before = store_state(&sandbox);
    for (args, part) in [
        (
            &["clone", "missing"][..],
            "invalid container id or name 'missing'",
        ),
        (
            &["clone", "--name=kinds", "kinds"],
            "container name already exists: 'kinds'",
        ),
        (&["clone", "--name=a.b", "kinds"], "names may not have"),
    ] {
        sandbox
            .udocker(args)
            .run()
            .exits_with(1)
            .errs_in_one_line(&[part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
    // The Fakechroot modes of udocker.py write the path of the container into its files.
    let directory = root_of(&sandbox, "kinds").parent().unwrap().to_path_buf();
    fs::write(directory.join("execmode"), "F3").unwrap();
    let before = store_state(&sandbox);
    sandbox
        .udocker(["clone", "kinds"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["set up for mode F3"]);
    assert_eq!(store_state(&sandbox), before);
}
