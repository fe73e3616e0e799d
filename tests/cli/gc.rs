//! `gc`.

use std::fs;

use crate::support::archives::{two_layers, with_image};
use crate::support::sandbox::Sandbox;

#[test]
fn gc_without_a_repository_prints_nothing_and_makes_none() {
    let sandbox = Sandbox::new();
    let ran = sandbox.udocker(["gc"]).run().succeeds().prints("");
    assert_eq!(ran.stderr, "");
    assert!(!sandbox.store().exists());
}

#[test]
fn gc_removes_young_leftovers_with_all_only() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let orphan = sandbox.store().join("layers/sha256:orphan");
    fs::write(&orphan, vec![b'x'; 1_500_000]).unwrap();
    let kept = sandbox.udocker(["gc"]).run().succeeds();
    let kept = kept.prints("removed: 0 containers, 0 files of images (0 MB)");
    assert_eq!(
        kept.stderr,
        "Info: kept: 1 files that are young or in use; `udocker gc --all` removes the young ones\n"
    );
    assert!(orphan.exists());
    let removed = sandbox.udocker(["gc", "--all"]).run().succeeds();
    let removed = removed.prints("removed: 0 containers, 1 files of images (2 MB)");
    assert_eq!(removed.stderr, "");
    assert!(!orphan.exists());
    // Listed images stay whole.
    sandbox.udocker(["verify", "lab/a:1"]).run().succeeds();
}

#[test]
fn gc_removes_image_trees_where_none_are_wanted() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let create = sandbox.udocker(["create", "lab/a:1"]);
    create.env("UDOCKER_IMAGE_TREES", "always").run().succeeds();
    sandbox.udocker(["gc"]).run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 1);
    let gc = sandbox.udocker(["gc"]).env("UDOCKER_IMAGE_TREES", "false");
    gc.run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 0);
}
