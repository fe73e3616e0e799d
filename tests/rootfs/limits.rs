//! Limits on the size of images.

use std::path::Path;
use std::process::Command;

use udocker::rootfs::ApplyOptions;

use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::requirement::has_user_namespaces;
use crate::unpack::{
    Unpacked, apply_ahead, apply_both_ways_and_compare, apply_limited, apply_to, text,
};

#[test]
fn limits_stop_a_decompression_bomb_before_it_is_written() {
    let bytes = |limit| ApplyOptions {
        max_unpacked_bytes: Some(limit),
        ..ApplyOptions::default()
    };
    let layer = || LayerBuilder::new().file("a", "12345").file("b", "67890");
    let sparse = || {
        LayerBuilder::new().entry(
            TarEntry::new(b'0', "sparse")
                .pax("GNU.sparse.size", "1000000000000000")
                .pax("GNU.sparse.map", "1000000000000000,0"),
        )
    };
    for (name, layer, limits, expected) in [
        ("enough", layer(), bytes(10), None),
        ("content", layer(), bytes(9), Some("more than 9 bytes")),
        (
            "holes",
            sparse(),
            bytes(1 << 40),
            Some("more than 1099511627776 bytes"),
        ),
        (
            "declared only",
            LayerBuilder::new().entry(TarEntry::new(b'0', "a").declared_size(1 << 50)),
            bytes(1 << 40),
            Some("more than 1099511627776 bytes"),
        ),
        (
            "entries",
            layer(),
            ApplyOptions {
                max_entries: 1,
                ..ApplyOptions::default()
            },
            Some("more than 1 entries"),
        ),
    ] {
        let unpacked = Unpacked::empty();
        let layers = [layer.finish()];
        let result = apply_limited(&unpacked.root, &layers, limits);
        let again = apply_ahead(&Unpacked::empty(), &layers, limits);
        assert_eq!(text(&again), text(&result), "{name}");
        let message = result.err().map(|error| error.to_string());
        let expected =
            expected.map(|what| format!("layer 'L0' cannot be unpacked: the image has {what}"));
        assert_eq!(message, expected, "{name}");
    }
}

#[test]
fn directories_that_names_imply_are_counted_as_entries() {
    let limited = |layer: LayerBuilder| {
        let options = ApplyOptions {
            max_entries: 1000,
            ..ApplyOptions::default()
        };
        apply_limited(&Unpacked::empty().root, &[layer.finish()], options)
    };
    let name = |number: usize, depth: usize| format!("{number}/{}f", "a/".repeat(depth));
    for (names, depth, is_good) in [
        (1, 998, true),
        (1, 999, false),
        (2, 498, true),
        (2, 499, false),
    ] {
        let layer = (0..names).fold(LayerBuilder::new(), |layer, number| {
            layer.file(name(number, depth), "")
        });
        let message = limited(layer).err().map(|error| error.to_string());
        let expected = "layer 'L0' cannot be unpacked: the image has more than 1000 entries";
        let expected = (!is_good).then(|| expected.to_string());
        assert_eq!(message, expected, "{names} names, {depth} deep");
    }
}

/// Skipped device nodes take no room on the disk, but memory for their names.
#[test]
fn number_of_skipped_device_nodes_is_limited() {
    let devices = |count: u32| {
        let entry = |number| TarEntry::new(b'3', format!("{number}").as_str());
        let layer = (0..count).fold(LayerBuilder::new(), |layer, number| {
            layer.entry(entry(number))
        });
        apply_both_ways_and_compare(&[layer.finish()]).1
    };
    assert_eq!(devices(1 << 16).unwrap().skipped_devices, 1 << 16);
    assert_eq!(
        devices((1 << 16) + 1).unwrap_err().to_string(),
        "layer 'L0' cannot be unpacked: the image has more than 65536 device nodes"
    );
}

/// Set for the child process: the directory of the small disk.
const FULL_DISK: &str = "UDOCKER_TEST_FULL_DISK";

#[test]
fn full_disk_error_names_layer_file_and_cause() {
    if let Some(disk) = std::env::var_os(FULL_DISK) {
        return unpack_onto_full_disk(disk.as_ref());
    }
    if !has_user_namespaces() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=1m,nr_inodes=100 none "$0" && exec "$@""#)
        .arg(scratch.path())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "limits::full_disk_error_names_layer_file_and_cause",
        ])
        .env(FULL_DISK, scratch.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn unpack_onto_full_disk(disk: &Path) {
    let large = LayerBuilder::new().file("dir/large", vec![b'x'; 4 << 20]);
    let mut small = LayerBuilder::new();
    let mut many = LayerBuilder::new();
    for index in 0..200 {
        small = small.file("small", vec![b'x'; 1000]);
        small = small.file(format!("small{}", index % 50), vec![b'x'; 100_000]);
        many = many.directory(format!("directory{index}"));
    }
    for (name, layer, expected) in [
        ("a large file", large, "cannot write 'dir/large'"),
        ("small files", small, "cannot write 'small"),
        ("inodes", many, "cannot create 'directory"),
    ] {
        let layers = [layer.finish()];
        let in_turn = |unpacked: &Unpacked| apply_to(&unpacked.root, &layers);
        let ahead = |unpacked: &Unpacked| apply_ahead(unpacked, &layers, ApplyOptions::default());
        for apply in [&in_turn as &dyn Fn(&Unpacked) -> _, &ahead] {
            let unpacked = Unpacked::empty_in(disk);
            let message = apply(&unpacked).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("layer 'L0' cannot be unpacked: {expected}"))
                    && message.ends_with(": No space left on device (os error 28)"),
                "{name}: {message}"
            );
        }
    }
}
