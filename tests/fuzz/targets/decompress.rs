//! Bytes that claim to be compressed.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use udocker::stream::{UnpackReader, decompress};

/// A few kilobytes can unpack to gigabytes; what is wrong shows earlier.
const LIMIT: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((_, stream)) = decompress(bytes) {
        let plain = UnpackReader::new(stream);
        let _ = std::io::copy(&mut plain.take(LIMIT), &mut std::io::sink());
    }
});
