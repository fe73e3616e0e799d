//! Blocks of a tar archive. Every block that could be a header gets the right checksum, which random
//! bytes hardly ever have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use udocker::oci::Algorithm;
use udocker::progress::Silent;
use udocker::rootfs::{Layer, check_layer};

#[path = "../../support/layer_builder.rs"]
#[allow(dead_code, reason = "only a part of it is of use here")]
mod layer_builder;

fuzz_target!(|bytes: &[u8]| {
    let mut tar = bytes.to_vec();
    for block in tar.as_chunks_mut::<512>().0 {
        if *block != [0; 512] {
            layer_builder::seal(block);
        }
    }
    let layer = Layer {
        name: "fuzz".to_string(),
        source: Box::new(&tar[..]),
        diff_id: None,
        size: None,
    };
    let _ = check_layer(layer, Some(Algorithm::Sha256), &Silent);
});
