//! `clone`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
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
    let blocks = |root: &Path| {
        std::os::unix::fs::MetadataExt::blocks(&fs::metadata(root.join("sparse")).unwrap())
    };
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

/// The copier keeps a limited list of data ranges; this file has more ranges than that.
#[test]
fn clone_and_export_copy_files_with_many_holes() {
    const PIECES: u64 = 65_600;
    const PIECE: u64 = 4096;
    let sandbox = with_every_kind();
    let path = root_of(&sandbox, "kinds").join("pieces");
    let file = File::create(&path).unwrap();
    for number in 0..PIECES {
        let piece = [number as u8 | 1; PIECE as usize];
        file.write_all_at(&piece, 2 * number * PIECE).unwrap();
    }
    let expected = digest_of(File::open(&path).unwrap());
    sandbox
        .udocker(["clone", "--name=clone", "kinds"])
        .run()
        .succeeds();
    let clone = root_of(&sandbox, "clone").join("pieces");
    assert_eq!(digest_of(File::open(&clone).unwrap()), expected);
    fs::remove_file(clone).unwrap();
    sandbox
        .udocker(["export", "-o", "kinds.tar", "kinds"])
        .run()
        .succeeds();
    let mut archive = tar::Archive::new(File::open(sandbox.path("kinds.tar")).unwrap());
    let is_it = |entry: &tar::Entry<'_, File>| entry.path().unwrap().ends_with("pieces");
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    assert_eq!(digest_of(entries.find(is_it).unwrap()), expected);
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
            "there is no container 'missing' here",
        ),
        (
            &["clone", "--name=kinds", "kinds"],
            "the name 'kinds' is taken",
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
