//! Byte streams on their way: hashed while they pass, decompressed by what they are.

mod decompress;
mod gzip;
mod hashing;
mod peek;

pub use decompress::{Compression, decompress};
pub use hashing::HashingReader;
