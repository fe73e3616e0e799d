//! Containers that are cloned from the kept tree of their image.
//!
//! By default trees are kept only where the file system lets files share blocks. These tests switch
//! them on everywhere; `scripts/show-filesystems.sh` shows the sharing on btrfs and xfs.

use std::fs;

use crate::support::archives::{file_in_container, root_of, with_image};
use crate::support::entry_kinds::layer_of_every_kind;
use crate::support::image::ImageBuilder;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::registry_server::RegistryServer;
use crate::support::requirement::has_tools;
use crate::support::sandbox::{Invocation, Sandbox};
use crate::support::tree;

pub const IMAGE: &str = "lab/kinds:1";

/// The program with image trees switched on.
fn udocker(sandbox: &Sandbox, args: &[&str]) -> Invocation {
    sandbox.udocker(args).env("UDOCKER_IMAGE_TREES", "always")
}

/// A sandbox with an image of two layers. The upper layer has an entry for the root directory.
pub fn with_kinds() -> Sandbox {
    let upper = LayerBuilder::new()
        .entry(TarEntry::new(b'5', "./").mode(0o751).mtime(86_400))
        .file("upper", "of the upper layer")
        .directory("one")
        .file("one/name", "one")
        .directory("other")
        .file("other/name", "other");
    let image = ImageBuilder::new()
        .layer(layer_of_every_kind())
        .layer(upper.finish());
    with_image(&image, IMAGE)
}

/// Overwrites the layers, so that no container can be made from them.
pub fn damage_layers(sandbox: &Sandbox) {
    for link in fs::read_dir(sandbox.store().join("repos/lab/kinds/1")).unwrap() {
        let path = link.unwrap().path();
        let content = fs::read(&path).unwrap();
        if !content.starts_with(b"{") && path.is_symlink() {
            fs::write(&path, "damaged").unwrap();
        }
    }
}

#[test]
fn second_container_is_cloned_from_the_image_tree() {
    let sandbox = with_kinds();
    // No tree is kept when trees are switched off.
    let plain = sandbox
        .udocker(["create", IMAGE])
        .env("UDOCKER_IMAGE_TREES", "false");
    plain.run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 0);

    udocker(&sandbox, &["create", "--name=a", IMAGE])
        .run()
        .succeeds();
    let first = root_of(&sandbox, "a");
    let unpacked = tree::read(&first);
    assert_eq!(sandbox.image_trees().len(), 1);
    fs::write(first.join("etc/file"), "changed").unwrap();
    fs::remove_file(first.join("upper")).unwrap();
    fs::write(first.join("new"), "").unwrap();

    damage_layers(&sandbox);
    let second = udocker(&sandbox, &["create", "--name=b", IMAGE])
        .run()
        .succeeds();
    assert_eq!(second.stderr, "");
    tree::assert_same("b", &tree::read(&root_of(&sandbox, "b")), &unpacked);
    fs::write(root_of(&sandbox, "b").join("etc/file"), "changed").unwrap();
    udocker(&sandbox, &["create", "--name=c", IMAGE])
        .run()
        .succeeds();
    tree::assert_same("c", &tree::read(&root_of(&sandbox, "c")), &unpacked);
    let listed = sandbox.udocker(["ps"]).run().succeeds();
    assert_eq!(listed.text().matches(IMAGE).count(), 4, "{listed:#?}");

    // Without trees, the container is made from the layers, which are damaged now.
    sandbox
        .udocker(["create", IMAGE])
        .env("UDOCKER_IMAGE_TREES", "false")
        .run()
        .exits_with(1)
        .errs_in_one_line(&["layer"]);
    // The limit on unpacked data concerns layers, so the tree is not used.
    udocker(&sandbox, &["create", IMAGE])
        .env("UDOCKER_MAX_UNPACKED_MB", "1")
        .run()
        .exits_with(1)
        .errs_in_one_line(&["layer"]);
}

#[test]
fn rmi_of_the_last_image_removes_its_tree() {
    let sandbox = with_kinds();
    udocker(&sandbox, &["create", IMAGE]).run().succeeds();
    udocker(&sandbox, &["tag", IMAGE, "lab/kinds:2"])
        .run()
        .succeeds();
    udocker(&sandbox, &["rmi", IMAGE]).run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 1);
    udocker(&sandbox, &["gc"]).run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 1);
    udocker(&sandbox, &["rmi", "lab/kinds:2"]).run().succeeds();
    assert_eq!(sandbox.image_trees().len(), 0);
}

#[test]
fn create_applies_layers_when_the_image_tree_is_damaged() {
    let sandbox = with_kinds();
    udocker(&sandbox, &["create", "--name=a", IMAGE])
        .run()
        .succeeds();
    let [tree] = &sandbox.image_trees()[..] else {
        panic!("one tree");
    };
    fs::rename(tree.join("ROOT"), tree.join("elsewhere")).unwrap();
    udocker(&sandbox, &["create", "--name=b", IMAGE])
        .run()
        .succeeds();
    for path in ["upper", "etc/file"] {
        let [a, b] = ["a", "b"].map(|name| file_in_container(&sandbox, name, path));
        assert_eq!(a, b);
    }
    // The damaged tree has been replaced by a whole one.
    assert!(tree.join("ROOT/upper").is_file());
    let staging = sandbox.store().join(".containers.staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn run_leaves_an_image_tree_after_unpacking_during_the_pull() {
    if !has_tools(&["docker-registry", "skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let registry = RegistryServer::plain();
    let layout = sandbox.path("layout");
    ImageBuilder::busybox().write_layout(&layout, "latest");
    let image = registry.push_layout(&layout, "latest", "lab/busybox:1");
    udocker(&sandbox, &["run", "--name=a", &image, "true"])
        .run()
        .succeeds();
    assert_eq!(sandbox.image_trees().len(), 1);
    udocker(&sandbox, &["run", "--rm", &image, "true"])
        .run()
        .succeeds();
    assert_eq!(sandbox.image_trees().len(), 1);
}
