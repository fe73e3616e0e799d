//! `clone`.

use std::fs;
use std::path::Path;

use crate::archives::{root_of, store_state};
use crate::export::zoo;
use crate::tree;

#[test]
fn a_clone_is_the_same_and_independent() {
    let sandbox = zoo();
    let source = root_of(&sandbox, "zoo");
    let beside = |root: &Path, name: &str| root.with_file_name(name);
    // What a run notes is about the source's own tree.
    for name in ["osenv.json", "mountpoints", "mountpoint"] {
        fs::write(beside(&source, name), "{}").unwrap();
    }
    let made = sandbox
        .udocker(["clone", "--name=copy", "zoo"])
        .run()
        .succeeds();
    assert_eq!(made.text().len(), 36, "{made:#?}");
    let copy = root_of(&sandbox, "copy");
    assert_eq!(copy, root_of(&sandbox, made.text()));
    let differences = tree::differences(&tree::read(&source), &tree::read(&copy));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
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
    sandbox.udocker(["rm", "zoo"]).run().succeeds();
    assert_eq!(
        fs::read_to_string(copy.join("etc/soft")).unwrap(),
        "changed"
    );
}

#[test]
fn a_clone_that_fails_leaves_no_trace() {
    let sandbox = zoo();
    let before = store_state(&sandbox);
    for (args, part) in [
        (
            &["clone", "missing"][..],
            "there is no container 'missing' here",
        ),
        (&["clone", "--name=zoo", "zoo"], "the name 'zoo' is taken"),
        (&["clone", "--name=a.b", "zoo"], "names may not have"),
    ] {
        sandbox
            .udocker(args)
            .run()
            .exits_with(1)
            .errs_in_one_line(&[part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
    // udocker.py's Fakechroot modes write the container's own path into its files.
    let directory = root_of(&sandbox, "zoo").parent().unwrap().to_path_buf();
    fs::write(directory.join("execmode"), "F3").unwrap();
    let before = store_state(&sandbox);
    sandbox
        .udocker(["clone", "zoo"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["set up for mode F3"]);
    assert_eq!(store_state(&sandbox), before);
}
