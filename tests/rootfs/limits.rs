//! Images larger than wanted.

use udocker::rootfs::Limits;

use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::unpack::{Unpacked, apply_limited};

#[test]
fn limits_stop_bombs_before_they_are_written() {
    let bytes = |limit| Limits {
        max_unpacked_bytes: Some(limit),
        ..Limits::default()
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
            Limits {
                max_entries: 1,
                ..Limits::default()
            },
            Some("more than 1 entries"),
        ),
    ] {
        let unpacked = Unpacked::empty();
        let result = apply_limited(&unpacked.root, &[layer.finish()], limits);
        let message = result.err().map(|error| error.to_string());
        let expected =
            expected.map(|what| format!("layer 'L0' cannot be unpacked: the image has {what}"));
        assert_eq!(message, expected, "{name}");
    }
}
