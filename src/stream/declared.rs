//! The uncompressed size that compressed files declare.

use std::io::{self, Read, Seek, SeekFrom};

use super::Compression;

/// Returns the uncompressed size that a file declares, or its own size if that is larger.
///
/// This serves messages only, and is not to be trusted: gzip declares the size of its last member
/// modulo 4 GiB, and nothing makes the number true. Bzip2 declares none.
///
/// Source: RFC 1952, section 2.3.1; RFC 8878, section 3.1.1.1.4; The .xz File Format, section 4.
///
/// # Errors
/// Errors of `file`.
pub fn declared_bytes(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let mut head = Vec::new();
    file.take(ZSTD_HEADER_MAX_BYTES).read_to_end(&mut head)?;
    let length = file.seek(SeekFrom::End(0))?;
    let declared = match Compression::sniff(&head) {
        Compression::Gzip if length >= GZIP_LEAST_BYTES => {
            let mut trailer = [0; 4];
            file.seek(SeekFrom::End(-4))?;
            file.read_exact(&mut trailer)?;
            u64::from(u32::from_le_bytes(trailer))
        }
        Compression::Zstd => zstd::zstd_safe::get_frame_content_size(&head)
            .ok()
            .flatten()
            .unwrap_or(0),
        Compression::Xz => {
            file.rewind()?;
            lzma_rust2::xz_uncompressed_size(file).unwrap_or(0)
        }
        _ => 0,
    };
    Ok(declared.max(length))
}

/// The size of header and trailer.
const GZIP_LEAST_BYTES: u64 = 18;

const ZSTD_HEADER_MAX_BYTES: u64 = 18;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::testing::{bzip2, gzip, xz};
    use super::*;

    #[test]
    fn compressed_files_declare_their_size() {
        let plain = vec![b'x'; 100_000];
        for (name, bytes, expected) in [
            ("gzip", gzip(&plain), 100_000),
            ("bzip2", bzip2(&plain), bzip2(&plain).len() as u64),
            ("xz", xz(&plain), 100_000),
            ("zstd", zstd::bulk::compress(&plain, 1).unwrap(), 100_000),
            ("plain", plain.clone(), 100_000),
            ("cut", vec![0x1f, 0x8b, 8, 0], 4),
            ("nothing", Vec::new(), 0),
        ] {
            let found = declared_bytes(&mut Cursor::new(bytes)).unwrap();
            assert_eq!(found, expected, "{name}");
        }
    }
}
