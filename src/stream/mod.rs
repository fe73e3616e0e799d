//! Byte streams on their way: hashed while they pass, decompressed by what they are.

mod decompress;
mod hashing;

pub use decompress::{Compression, decompress};
pub use hashing::HashingReader;
