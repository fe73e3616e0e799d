//! Decompression of streams, whose format is recognized by their first bytes.

use std::io::{self, Cursor, Read};

use super::bzip2::{self, Bzip2Reader};
use super::gzip::{self, GzipReader};
use super::peek::PeekReader;
use super::xz::{self, XzReader};
use super::zstandard::{self, ZstdReader};

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// Gzip, with one or several members.
    Gzip,
    /// Bzip2, with one or several streams.
    Bzip2,
    /// Xz, with one or several streams.
    Xz,
    /// Zstandard, with one or several frames, including skippable ones.
    Zstd,
}

const BUFFER_BYTES: usize = 128 * 1024;

impl Compression {
    /// How many of the first bytes show the format.
    pub const HEAD_BYTES: usize = bzip2::HEAD_BYTES;

    /// Recognizes the format by the first bytes, since media types are often wrong.
    pub fn sniff(head: &[u8]) -> Compression {
        if head.starts_with(gzip::MAGIC) {
            Compression::Gzip
        } else if bzip2::is_start(head) {
            Compression::Bzip2
        } else if head.starts_with(xz::MAGIC) {
            Compression::Xz
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
        source
            .take(Compression::HEAD_BYTES as u64)
            .read_to_end(&mut head)?;
        Ok(Compression::sniff(&head))
    }

    /// Whether readers of this format keep a long history, for which they may have to wait until
    /// others are done.
    pub fn waits_for_memory(self) -> bool {
        match self {
            Compression::None | Compression::Gzip => false,
            Compression::Bzip2 | Compression::Xz | Compression::Zstd => true,
        }
    }
}

/// Returns the compression format of `source`, and a reader of the decompressed bytes.
///
/// As with `gzip -d`, bytes after the last gzip member are ignored; they may stay unread. The same
/// holds for streams of bzip2 and xz.
///
/// # Errors
/// The first bytes cannot be read. Later errors come from the returned reader.
pub fn decompress<'a>(
    source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = PeekReader::new(source, BUFFER_BYTES);
    let compression = Compression::sniff(source.peek(Compression::HEAD_BYTES)?);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(GzipReader::new(source)?),
        Compression::Bzip2 => Box::new(Bzip2Reader::new(source)),
        Compression::Xz => Box::new(XzReader::new(source)),
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
    let mut head = Vec::with_capacity(Compression::HEAD_BYTES);
    (&mut source)
        .take(Compression::HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    let compression = Compression::sniff(&head);
    Ok((compression, Box::new(Cursor::new(head).chain(source))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{bzip2, gzip, noise, xz};
    use super::*;

    /// A reader that returns one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            self.0.read(&mut buffer[..count])
        }
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
        use Compression::{Bzip2, Gzip, None, Xz, Zstd};
        let cases: [(&str, Vec<u8>, Compression, &[u8]); 20] = [
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
            ("bzip2", bzip2(b"one"), Bzip2, b"one"),
            ("bzip2 of nothing", bzip2(b""), Bzip2, b""),
            (
                "bzip2 streams, the first empty",
                [bzip2(b""), bzip2(b"one"), bzip2(b"two")].concat(),
                Bzip2,
                b"onetwo",
            ),
            (
                "bzip2 stream and text",
                [bzip2(b"one"), b"BZh and more".to_vec()].concat(),
                Bzip2,
                b"one",
            ),
            (
                "a name like bzip2",
                b"BZh1/etc/passwd".to_vec(),
                None,
                b"BZh1/etc/passwd",
            ),
            ("xz", xz(b"one"), Xz, b"one"),
            ("xz of nothing", xz(b""), Xz, b""),
            (
                "xz streams, the first empty, and padding",
                [
                    xz(b""),
                    xz(b"one"),
                    vec![0; 300_000],
                    xz(b"two"),
                    vec![0; 8],
                ]
                .concat(),
                Xz,
                b"onetwo",
            ),
            (
                "xz stream and text",
                [xz(b"one"), b"trailing garbage".to_vec()].concat(),
                Xz,
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
        let noise = noise(1000);
        let mut flipped_bzip2 = bzip2(&noise);
        flipped_bzip2[300] ^= 1;
        let mut flipped_xz = xz(&noise);
        flipped_xz[300] ^= 1;
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
            (
                "truncated bzip2",
                bzip2(&noise)[..300].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            (
                "beginning of bzip2",
                b"BZh9".to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            (
                "truncated xz",
                xz(&noise)[..300].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            (
                "xz without its footer",
                xz(&noise)[..xz(&noise).len() - 12].to_vec(),
                io::ErrorKind::UnexpectedEof,
            ),
            ("damaged bzip2", flipped_bzip2, io::ErrorKind::InvalidData),
            ("damaged xz", flipped_xz, io::ErrorKind::InvalidData),
        ];
        for (name, source, kind) in cases {
            assert_eq!(read_all(&source[..]).unwrap_err().kind(), kind, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_unpacks_without_an_error_is_whole_streams(
            sizes in prop::collection::vec(0_usize..100_000, 1..4),
            pack in prop::sample::select(vec![bzip2 as fn(&[u8]) -> Vec<u8>, xz]),
            flipped in prop::option::of((any::<prop::sample::Index>(), 0_u8..8)),
            length in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let contents: Vec<Vec<u8>> = sizes.into_iter().map(noise).collect();
            let mut stream: Vec<u8> = contents.iter().flat_map(|content| pack(content)).collect();
            if let Some((at, bit)) = flipped {
                let at = at.index(stream.len());
                stream[at] ^= 1 << bit;
            }
            if let Some(length) = length {
                stream.truncate(length.index(stream.len()));
            }
            match read_all(&stream[..]) {
                Ok((Compression::None, _)) => {}
                Ok((_, bytes)) => {
                    let whole = |count: usize| contents[..count].concat() == bytes;
                    prop_assert!((0..=contents.len()).any(whole));
                }
                Err(error) => prop_assert!(flipped.is_some() || length.is_some(), "{}", error),
            }
        }
    }
}
