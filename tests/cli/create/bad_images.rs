//! `create` and `run` with images that are hostile, damaged or for another architecture.

use std::fs;
use std::path::Path;

use crate::support::image::ImageBuilder;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::prepared::{empty_registry, pulled};
use crate::support::sandbox::Sandbox;

#[test]
fn create_refuses_damaged_layers() {
    let Some(registry) = empty_registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let mut no_checksum = LayerBuilder::new().file("file", "text").finish();
    no_checksum[148..156].copy_from_slice(b"0000000\0");
    let says = |size| {
        let entry = TarEntry::new(b'0', "file").content("far less");
        LayerBuilder::new().entry(entry.declared_size(size))
    };
    let cases = [
        ("early-end", says(100_000).finish()),
        ("huge", says(1 << 40).finish()),
        ("half-header", no_checksum[..300].to_vec()),
        ("no-checksum", no_checksum),
        ("no-tar", b"this is no archive at all\n".repeat(100)),
    ];
    for (name, tar) in cases {
        let image = ImageBuilder::busybox().layer(tar);
        let image = pulled(&sandbox, &registry, name, &image);
        let ran = sandbox.udocker(["create", &image]).run();
        ran.exits_with(1).errs_in_one_line(&["layer"]);
        let ran = sandbox.udocker(["run", &image, "true"]).run();
        assert_ne!(ran.code(), 0, "{name}: {ran:#?}");
        ran.errs_in_one_line(&["layer"]);
        sandbox.assert_no_containers();
        // `verify` finds the damage, although the digest of the layer is right.
        let ran = sandbox.udocker(["verify", &image]).run().exits_with(1);
        assert!(
            ran.stderr.contains("cannot be unpacked: "),
            "{name}: {ran:#?}"
        );
    }
}

/// `create` may refuse the layer or keep its entries inside the rootfs. Nothing outside may change
/// or become readable.
#[test]
fn create_keeps_escaping_layers_inside_the_rootfs() {
    let Some(registry) = empty_registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    let secret = sandbox.write("secret", "untouched");
    let up = "../".repeat(20);
    let outside = format!("{up}{}", secret.display());
    let absolute = secret.display().to_string();
    let directory = sandbox.path("").display().to_string();
    let new = LayerBuilder::new;
    let cases = [
        ("dots", new().file(&outside, "changed")),
        ("absolute", new().file(&absolute, "changed")),
        ("hard-link", new().hard_link("stolen", &outside)),
        (
            "hard-link-and-write",
            new()
                .hard_link("stolen", &outside)
                .file("stolen", "changed"),
        ),
        (
            "through-a-link",
            new()
                .symlink("door", &directory)
                .file("door/secret", "changed")
                .file("door/new", "changed"),
        ),
        (
            "through-a-relative-link",
            new()
                .symlink("door", format!("{up}{directory}"))
                .file("door/secret", "changed"),
        ),
        (
            "hard-link-through-a-link",
            new()
                .symlink("door", &directory)
                .hard_link("stolen", "door/secret"),
        ),
        (
            "whiteout",
            new()
                .symlink("door", &directory)
                .file("door/.wh.secret", ""),
        ),
    ];
    for (name, layer) in cases {
        let image = ImageBuilder::busybox().layer(layer.finish());
        let image = pulled(&sandbox, &registry, name, &image);
        let ran = sandbox.udocker(["create", &image]).run();
        let is_there = fs::read_to_string(&secret).expect("the secret");
        assert_eq!(is_there, "untouched", "{name}");
        assert!(!sandbox.path("new").exists(), "{name}");
        if ran.code() != 0 {
            ran.exits_with(1).errs_in_one_line(&[]);
            sandbox.assert_no_containers();
            continue;
        }
        let found = sandbox.udocker(["inspect", "-p", ran.text()]).run();
        let stolen = Path::new(found.text()).join("stolen");
        let stolen = fs::read_to_string(stolen).unwrap_or_default();
        assert_ne!(stolen, "untouched", "{name}");
        sandbox.udocker(["rm", ran.text()]).run().succeeds();
    }
}

#[test]
fn run_refuses_an_image_of_another_architecture() {
    let Some(registry) = empty_registry() else {
        return;
    };
    let sandbox = Sandbox::new();
    // The header of an executable for System z: 64 bits, big endian, machine 22.
    let mut program = b"\x7fELF\x02\x02\x01".to_vec();
    program.resize(18, 0);
    program.extend([0, 22]);
    program.resize(512, 0);
    let program = TarEntry::new(b'0', "bin/true").mode(0o755).content(program);
    let layer = LayerBuilder::new().directory("bin/").entry(program);
    let image = ImageBuilder::new()
        .layer(layer.finish())
        .platform("linux", "s390x");
    let layout = image.write_layout(&sandbox.path("layout"), "latest");
    let image = registry.push_layout(&layout, "latest", "lab/foreign:1");
    // The image can be pulled and created, but not run.
    sandbox
        .udocker(["pull", "--platform=linux/s390x", &image])
        .run()
        .succeeds();
    sandbox
        .udocker(["create", "--name=foreign", &image])
        .run()
        .succeeds();
    // A search path without emulators: PRoot would use one.
    sandbox
        .udocker(["run", "foreign", "true"])
        .env("PATH", sandbox.path("bin"))
        .run()
        .exits_with(126)
        .errs_in_one_line(&["s390x"]);
}
