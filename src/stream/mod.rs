//! Byte streams: hashing, decompression, and writing tar archives.

mod bzip2;
mod declared;
mod decompress;
mod gzip;
mod hashing;
mod memory;
mod peek;
mod tar_writer;
#[cfg(test)]
mod testing;
mod xz;
mod zstandard;

pub use declared::declared_bytes;
pub use decompress::{Compression, decompress, sniffed};
pub use hashing::{BackgroundHasher, HashingReader, copy_hashed};
pub use tar_writer::{DeviceNumber, Run, TarAttributes, TarKind, TarWriter};
