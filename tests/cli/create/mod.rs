//! `create`; its result on the distribution image is compared with that of umoci.

mod bad_images;
mod container_copies;
mod image_trees;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::support::archives::{two_layers, with_image};
use crate::support::prepared::{Distro, distro_devices, umoci_tree, with_busybox};
use crate::support::tree::{self, Kind};

/// The mode that `create` sets instead of `mode`: the owner keeps access to the tree.
fn usable(kind: &Kind, mode: u32) -> u32 {
    match kind {
        Kind::Directory => mode | 0o700,
        Kind::File { .. } => mode | 0o600,
        _ => mode,
    }
}

#[test]
fn created_tree_equals_umoci() {
    let (Some(umoci), Some(distro)) = (umoci_tree(), Distro::shared()) else {
        return;
    };
    // Other tests do not write to this container.
    let workplace = distro.workplace();
    let id = workplace
        .udocker(["create", &distro.image()])
        .run()
        .succeeds();
    let root = PathBuf::from(
        workplace
            .udocker(["inspect", "-p", id.text()])
            .run()
            .succeeds()
            .text(),
    );

    let mut expected = tree::read(&umoci.path);
    for device in distro_devices() {
        // umoci makes an empty file in place of a device node; `create` leaves the node out.
        expected.remove(&format!("./{}", device.display()));
    }
    for node in expected.values_mut() {
        node.mode = usable(&node.kind, node.mode);
        // umoci records owners in this attribute.
        node.xattrs.remove("user.rootlesscontainers");
    }
    let found = tree::read(&root);
    workplace.udocker(["rm", id.text()]).run().succeeds();
    tree::assert_same("create", &found, &expected);
    assert!(!root.exists(), "rm left '{}'", root.display());
}

#[test]
fn create_prints_the_id_and_nothing_else() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let made = sandbox.udocker(["-q", "create", "lab/a:1"]).run();
    let made = made.succeeds();
    let id = made.text();
    assert!(
        uuid::Uuid::parse_str(id).is_ok() && id == id.to_lowercase(),
        "{made:#?}"
    );
    assert_eq!((made.stdout.lines().count(), made.stderr.as_str()), (1, ""));
    let containers = sandbox.store().join("containers");
    assert!(containers.join(id).join("ROOT/etc/top").is_file());
}

#[test]
fn concurrent_creates_make_separate_containers() {
    let Some((sandbox, image)) = with_busybox() else {
        return;
    };
    let started = [(); 2].map(|()| sandbox.udocker(["create", &image]).spawn());
    let ids = started.map(|mut process| {
        let mut id = String::new();
        let stdout = process.child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut id).expect("a line");
        assert!(process.wait().success());
        id.trim().to_string()
    });
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        let run = ["run", "--nobanner", id, "echo", "works"];
        sandbox.udocker(run).run().succeeds().prints("works");
    }
}
