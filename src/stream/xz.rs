//! A reader of xz that works as `xz -d` does: it reads one stream after the other, in limited
//! memory. What follows the last stream is ignored, as with gzip.
//!
//! A block declares the size of the dictionary to which its data refers back: 8 MiB as a rule, 32
//! MiB with `xz -8`. Larger ones, of `xz -9`, are refused.
//!
//! Source: The .xz File Format, version 1.2.1, sections 2 and 3.

use std::io::{self, BufRead, Read};

use super::memory::{MEMORY_MAX_BYTES, MIB, Share};
use super::peek::PeekReader;

pub(super) const MAGIC: &[u8] = b"\xfd7zXZ\0";

/// Streams may be followed by any number of these.
const PADDING: [u8; 4] = [0; 4];

/// The limit for a decoder, in KiB: a dictionary of the largest size, and what it takes beside.
const LIMIT_KIB: u32 = ((MEMORY_MAX_BYTES + MIB) / 1024) as u32;

/// Decompresses all streams of a file.
pub(super) struct XzReader<R: Read> {
    /// The reader of the current stream, and its share of the memory; `None` after the last one.
    stream: Option<(lzma_rust2::XzReader<PeekReader<R>>, Share)>,
    /// The kind of the error that ended the reading. Readers of streams with filters run for ever
    /// if they are called again after an error.
    failed: Option<io::ErrorKind>,
}

impl<R: Read> XzReader<R> {
    /// Begins to read `source` at the header of its first stream. Waits for memory.
    pub(super) fn new(source: PeekReader<R>) -> XzReader<R> {
        XzReader {
            stream: Some((begin(source), Share::take(MEMORY_MAX_BYTES))),
            failed: None,
        }
    }

    fn read_streams(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty()
            && let Some((stream, _)) = &mut self.stream
        {
            let count = stream.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let source = stream.inner_mut();
            while source.peek(PADDING.len())? == PADDING {
                source.consume(PADDING.len());
            }
            let has_next = source.peek(MAGIC.len())? == MAGIC;
            self.stream = self
                .stream
                .take()
                .filter(|_| has_next)
                .map(|(stream, share)| (begin(stream.into_inner()), share));
        }
        Ok(0)
    }
}

/// Begins to read one stream.
fn begin<R: Read>(source: PeekReader<R>) -> lzma_rust2::XzReader<PeekReader<R>> {
    lzma_rust2::XzReader::new_mem_limit(source, false, LIMIT_KIB)
}

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        self.read_streams(buffer).map_err(|error| {
            let error = explained(error);
            self.failed = Some(error.kind());
            self.stream = None;
            error
        })
    }
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::OutOfMemory => io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "it asks for a dictionary of more than {} MiB, and no more is taken; it has to be \
                 compressed with `xz -8` or less, or decompressed first",
                MEMORY_MAX_BYTES / MIB
            ),
        ),
        // The original error has a message about buffers.
        io::ErrorKind::UnexpectedEof => error.kind().into(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use lzma_rust2::{CheckType, FilterType, XzOptions};

    use super::super::testing::{noise, xz, xz_with};
    use super::*;

    fn unpack(source: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        XzReader::new(PeekReader::new(source, 4096)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Replaces the size of the dictionary that the first block declares.
    fn with_dictionary(mut stream: Vec<u8>, log: u8) -> Vec<u8> {
        const HEADER: usize = 12;
        let end = HEADER + 4 * usize::from(stream[HEADER]);
        // The flags, the filter LZMA2, the length of its properties, and the size.
        assert_eq!(stream[HEADER + 1..][..3], [0, 0x21, 1]);
        stream[HEADER + 4] = 2 * (log - 12);
        let checksum = crc32fast::hash(&stream[HEADER..end]);
        stream[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
        stream
    }

    #[test]
    fn a_dictionary_that_is_too_large_is_refused() {
        assert_eq!(unpack(&with_dictionary(xz(b"one"), 25)).unwrap(), b"one");
        for log in [26, 31] {
            let large = with_dictionary(xz(b"one"), log);
            // The same holds for a later stream.
            for source in [large.clone(), [xz(b"one"), large].concat()] {
                assert_eq!(
                    unpack(&source).unwrap_err().to_string(),
                    "it asks for a dictionary of more than 32 MiB, and no more is taken; it has to \
                     be compressed with `xz -8` or less, or decompressed first"
                );
            }
        }
    }

    #[test]
    fn reading_again_after_an_error_is_an_error() {
        const HEADER: usize = 12;
        let mut options = XzOptions::with_preset(0);
        options.prepend_pre_filter(FilterType::BcjX86, 0);
        let mut damaged = xz_with(&[7; 1000], options);
        let chunk = HEADER + 4 * (usize::from(damaged[HEADER]) + 1);
        // The properties of the first chunk.
        damaged[chunk + 5] = 0xff;
        let mut reader = XzReader::new(PeekReader::new(&damaged[..], 4096));
        for _ in 0..3 {
            let error = reader.read(&mut [0; 100]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn all_checks_and_filters_are_known() {
        let content = noise(100_000);
        for check in [CheckType::Crc32, CheckType::Crc64, CheckType::Sha256] {
            let mut options = XzOptions::with_preset(0);
            options.set_check_sum_type(check);
            options.prepend_pre_filter(FilterType::BcjX86, 0);
            let packed = xz_with(&content, options);
            assert!(unpack(&packed).unwrap() == content, "{check:?}");
            // The check is in front of the index and the footer.
            let mut wrong = packed.clone();
            let at = wrong.len() - 12 - 12 - 1;
            wrong[at] ^= 1;
            assert!(unpack(&wrong).is_err(), "{check:?}");
        }
    }
}
