//! `rmi`.

use crate::support::archives::{file_in_image, layer, load, two_layers, with_image};
use crate::support::image::ImageBuilder;

#[test]
fn rmi_keeps_layers_that_other_images_share() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let other = ImageBuilder::new().layer(layer("base", "from below"));
    load(&sandbox, &other, "lab/b:1");
    let removed = sandbox.udocker(["rmi", "lab/a:1"]).run().succeeds();
    let removed = removed.prints("");
    assert_eq!(removed.stderr, "Info: deleted image: lab/a:1\n");
    sandbox.udocker(["verify", "lab/b:1"]).run().succeeds();
    assert_eq!(file_in_image(&sandbox, "lab/b:1", "etc/base"), "from below");
    let listed = sandbox.udocker(["images"]).run().succeeds();
    listed.prints("REPOSITORY\nlab/b:1    .");
}

#[test]
fn rmi_keeps_containers_and_leaves_no_blob() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let create = ["create", "--name=box", "lab/a:1"];
    sandbox.udocker(create).run().succeeds();
    sandbox.udocker(["-q", "rmi", "lab/a:1"]).run().succeeds();
    sandbox.assert_no_images();
    let root = crate::support::archives::root_of(&sandbox, "box");
    assert!(root.join("etc/top").is_file());
    sandbox.udocker(["rm", "box"]).run().succeeds();
    sandbox.assert_empty();
}
