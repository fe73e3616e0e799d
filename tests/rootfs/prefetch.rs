//! Random layers, applied with and without prefetching.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::unpack::apply_both_ways_and_compare;

/// Few names, so that entries conflict.
const NAMES: [&str; 8] = ["a", "b", "d", "", ".wh.a", ".wh.d", ".wh..wh..opq", "."];

fn path() -> impl Strategy<Value = String> {
    vec(0..NAMES.len(), 1..4).prop_map(|names| {
        let names: Vec<&str> = names.iter().map(|name| NAMES[*name]).collect();
        names.join("/")
    })
}

fn entry() -> impl Strategy<Value = TarEntry> {
    let flags = prop::sample::select(vec![b'0', b'0', b'5', b'5', b'1', b'2', b'6', b'3']);
    // Two sizes that writer threads handle, and a larger one.
    let sizes = prop::sample::select(vec![0, 3000, 600_000]);
    (flags, path(), path(), sizes).prop_map(|(flag, name, link, size)| {
        let entry = TarEntry::new(flag, name).link(link);
        match flag {
            b'0' => entry.content(vec![b'x'; size]),
            _ => entry,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn prefetched_apply_equals_sequential_apply(layers in vec(vec(entry(), 0..8), 1..4)) {
        let build = |entries: Vec<TarEntry>| {
            let layer = entries.into_iter().fold(LayerBuilder::new(), LayerBuilder::entry);
            layer.finish()
        };
        let layers: Vec<Vec<u8>> = layers.into_iter().map(build).collect();
        let (_unpacked, _result) = apply_both_ways_and_compare(&layers);
    }
}
