//! Compressed streams.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use udocker::stream::decompress;

/// A few kilobytes can unpack to gigabytes; errors show earlier.
const LIMIT: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((_, plain)) = decompress(bytes) {
        let _ = std::io::copy(&mut plain.take(LIMIT), &mut std::io::sink());
    }
});
