//! Decompression of streams, whose format is recognized by their first bytes.

use std::io::{self, Cursor, Read};

use super::gzip::{self, GzipReader};
use super::peek::PeekReader;
use super::zstandard::{self, ZstdReader};

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// Gzip, with one or several members.
    Gzip,
    /// Zstandard, with one or several frames, including skippable ones.
    Zstd,
}

const BUFFER_BYTES: usize = 128 * 1024;
const HEAD_BYTES: usize = 4;

impl Compression {
    /// Recognizes the format by the first bytes, since media types are often wrong.
    pub fn sniff(head: &[u8]) -> Compression {
        if head.starts_with(gzip::MAGIC) {
            Compression::Gzip
        } else if head.starts_with(zstandard::MAGIC) || zstandard::is_skippable(head) {
            Compression::Zstd
        } else {
            Compression::None
        }
    }

    /// Recognizes the format of `source`, of which the first bytes are read.
    ///
    /// # Errors
    /// Errors of `source`.
    pub fn of(source: impl Read) -> io::Result<Compression> {
        let mut head = Vec::new();
        source.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        Ok(Compression::sniff(&head))
    }
}

/// Returns the compression format of `source`, and a reader of the decompressed bytes.
///
/// As with `gzip -d`, bytes after the last gzip member are ignored; they may stay unread.
///
/// # Errors
/// The first bytes cannot be read. Later errors come from the returned reader.
pub fn decompress<'a>(
    source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = PeekReader::new(source, BUFFER_BYTES);
    let compression = Compression::sniff(source.peek(HEAD_BYTES)?);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(GzipReader::new(source)?),
        Compression::Zstd => Box::new(ZstdReader::new(source)),
    };
    Ok((compression, reader))
}

/// Returns the compression format of `source`, and a reader of all its bytes as they are.
///
/// # Errors
/// The first bytes cannot be read.
pub fn sniffed<'a>(
    mut source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut source)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let compression = Compression::sniff(&head);
    Ok((compression, Box::new(Cursor::new(head).chain(source))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A reader that returns one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn skippable(bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x5e, 0x2a, 0x4d, 0x18];
        frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        frame.extend(bytes);
        frame
    }

    fn read_all(source: impl Read + Send) -> io::Result<(Compression, Vec<u8>)> {
        let (compression, mut reader) = decompress(source)?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok((compression, bytes))
    }

    #[test]
    fn formats_are_recognized_by_the_first_bytes() {
        use Compression::{Gzip, None, Zstd};
        let cases: [(&str, Vec<u8>, Compression, &[u8]); 11] = [
            ("empty", vec![], None, b""),
            ("one byte", vec![0x1f], None, b"\x1f"),
            ("plain", b"plain text".to_vec(), None, b"plain text"),
            ("gzip", gzip(b"one"), Gzip, b"one"),
            ("gzip of nothing", gzip(b""), Gzip, b""),
            (
                "two members, the first empty",
                [gzip(b""), gzip(b"two")].concat(),
                Gzip,
                b"two",
            ),
            (
                "members and zeros",
                [gzip(b"one"), gzip(b"two"), vec![0; 1000]].concat(),
                Gzip,
                b"onetwo",
            ),
            (
                "member and one byte of magic",
                [gzip(b"one"), vec![0x1f]].concat(),
                Gzip,
                b"one",
            ),
            (
                "member and text",
                [gzip(b"one"), b"trailing garbage".to_vec()].concat(),
                Gzip,
                b"one",
            ),
            (
                "zstd frames",
                [zstd(b"one"), zstd(b"two")].concat(),
                Zstd,
                b"onetwo",
            ),
            (
                "skippable frames around",
                [skippable(b"first"), zstd(b"one"), skippable(b"last")].concat(),
                Zstd,
                b"one",
            ),
        ];
        for (name, source, compression, bytes) in cases {
            let expected = (compression, bytes.to_vec());
            assert_eq!(read_all(&source[..]).unwrap(), expected, "{name}");
            assert_eq!(
                read_all(Trickle(&source)).unwrap(),
                expected,
                "{name}, byte by byte"
            );
        }
    }

    #[test]
    fn damaged_streams_are_errors() {
        let mut flipped = gzip(b"some bytes to be flipped");
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        let cases = [
            (
                "truncated gzip",
                gzip(b"one two three")[..20].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            (
                "truncated zstd",
                zstd(&[7; 5000])[..12].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            ("wrong checksum", flipped, io::ErrorKind::InvalidData),
            (
                "second member truncated",
                [gzip(b"one"), gzip(b"two")[..12].to_vec()].concat(),
                io::ErrorKind::UnexpectedEof,
            ),
        ];
        for (name, source, kind) in cases {
            assert_eq!(read_all(&source[..]).unwrap_err().kind(), kind, "{name}");
        }
    }
}
