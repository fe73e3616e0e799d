//! Decompression by content.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// How some bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, of one or several members.
    Gzip,
    /// Zstandard, of one or several frames, skippable ones included.
    Zstd,
}

const BUFFER_BYTES: usize = 128 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

impl Compression {
    /// Tells the compression from the first bytes, since media types are often wrong.
    pub fn sniff(head: &[u8]) -> Compression {
        // A skippable zstd frame begins 5?2a4d18; zstd:chunked layers may start with one.
        let is_skippable =
            head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
        if head.starts_with(GZIP_MAGIC) {
            Compression::Gzip
        } else if head.starts_with(ZSTD_MAGIC) || is_skippable {
            Compression::Zstd
        } else {
            Compression::None
        }
    }
}

/// Returns the decompressed bytes of `source` and how it was compressed.
///
/// # Errors
/// Those of reading the first bytes; later ones come from the returned reader.
pub fn decompress<'a>(
    source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let compression = Compression::sniff(source.fill_buf()?);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(source)?),
    };
    Ok((compression, reader))
}
