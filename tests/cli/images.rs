//! `images`.

use crate::support::archives::{load, two_layers, with_image};
use crate::support::sandbox::Sandbox;

#[test]
fn images_without_a_repository_prints_the_header() {
    let sandbox = Sandbox::new();
    sandbox.assert_no_images();
    sandbox
        .udocker(["-q", "images"])
        .run()
        .succeeds()
        .prints("");
}

#[test]
fn images_lists_names_and_protection() {
    let sandbox = with_image(&two_layers(), "lab/b:1");
    load(&sandbox, &two_layers(), "quay.io/lab/a:2");
    sandbox.udocker(["protect", "lab/b:1"]).run().succeeds();
    let listed = sandbox.udocker(["images"]).run().succeeds();
    listed.prints("REPOSITORY\nlab/b:1    P\nquay.io/lab/a:2    .");
}

#[test]
fn images_shows_platform_directory_and_layers() {
    let image = two_layers().platform("linux", "arm64");
    let sandbox = with_image(&image, "lab/a:1");
    let listed = sandbox.udocker(["-q", "images", "-p", "-l"]).run();
    let listed = listed.succeeds();
    let mut lines = listed.stdout.lines();
    let directory = sandbox.store().join("repos/lab/a/1");
    assert_eq!(lines.next(), Some("linux/arm64        . lab/a:1"));
    assert_eq!(lines.next(), Some(&*format!(" {}", directory.display())));
    let blobs: Vec<&str> = lines.collect();
    assert_eq!(
        blobs.len(),
        3,
        "two layers and a configuration: {listed:#?}"
    );
    for line in blobs {
        assert!(
            line.starts_with("    /sha256:") && line.ends_with(" (0 MB)"),
            "{line}"
        );
    }
}
