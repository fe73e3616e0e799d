//! A reader of Zstandard that works as `zstd -d` does: it reads one frame after the other, in
//! limited memory.
//!
//! A frame declares the size of the window that its back references need. Windows of up to 32 MiB
//! are accepted: image builders in Go, which make nearly all such layers, need that at their best
//! level, and 8 MiB usually, as does `zstd -19`. Larger ones, of `zstd --ultra` and `--long`, are
//! refused.
//!
//! Source: RFC 8878, section 3.1.1.1; section 7.1 on the limits that decoders set.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::memory::{MEMORY_MAX_BYTES, MIB, Share};
use super::peek::PeekReader;

pub(super) const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The length of the longest frame header.
const HEADER_MAX_BYTES: usize = 18;

/// Whether these bytes begin a skippable frame, with which zstd:chunked layers may start.
pub(super) fn is_skippable(head: &[u8]) -> bool {
    head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18]
}

/// Decompresses all frames of a stream.
pub(super) struct ZstdReader<R> {
    source: PeekReader<R>,
    /// The decoder, and its share of the memory; `None` before the first frame.
    decoder: Option<(Decoder<'static>, Share)>,
    is_in_frame: bool,
}

impl<R: Read> ZstdReader<R> {
    /// Begins to read `source` at the header of its first frame.
    pub(super) fn new(source: PeekReader<R>) -> ZstdReader<R> {
        ZstdReader {
            source,
            decoder: None,
            is_in_frame: false,
        }
    }

    /// Begins the next frame, and returns whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        let head = self.source.peek(HEADER_MAX_BYTES)?;
        if head.is_empty() {
            return Ok(false);
        }
        let window = window_of(head).ok_or_else(|| match head.len() {
            HEADER_MAX_BYTES => invalid("a frame has no header of zstd".to_string()),
            _ => io::ErrorKind::UnexpectedEof.into(),
        })?;
        if window > MEMORY_MAX_BYTES {
            return Err(invalid(format!(
                "a frame asks for a window of {} MiB, and at most {} MiB are taken; it has to be \
                 compressed without `--long` and `--ultra`",
                window.div_ceil(MIB),
                MEMORY_MAX_BYTES / MIB
            )));
        }
        let has_room = |(_, share): &(_, Share)| share.bytes() >= window;
        if !self.decoder.as_ref().is_some_and(has_room) {
            // The share is returned before a larger one is taken: two readers that each keep one
            // while they wait for more would deadlock.
            self.decoder = None;
            let share = Share::take(window);
            self.decoder = Some((Decoder::new()?, share));
        }
        self.is_in_frame = true;
        Ok(true)
    }
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() && (self.is_in_frame || self.begin()?) {
            let Some((decoder, _)) = &mut self.decoder else {
                break;
            };
            let mut input = InBuffer::around(self.source.fill_buf()?);
            let mut output = OutBuffer::around(&mut *buffer);
            let is_over = input.src.is_empty();
            let wanted = decoder.run(&mut input, &mut output)?;
            let (taken, made) = (input.pos(), output.pos());
            self.source.consume(taken);
            self.is_in_frame = wanted > 0;
            if made > 0 {
                return Ok(made);
            }
            if self.is_in_frame && is_over {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// Returns the window size that a frame declares; `None` if `head` is no complete frame header.
fn window_of(head: &[u8]) -> Option<u64> {
    if is_skippable(head) {
        return Some(0);
    }
    let (descriptor, fields) = head.strip_prefix(MAGIC)?.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = fields.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The whole content is the window.
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_bytes = 1 << (descriptor >> 6);
    let field = fields.get(dictionary_bytes..)?.get(..content_bytes)?;
    let mut size = [0; 8];
    size[..content_bytes].copy_from_slice(field);
    let size = u64::from_le_bytes(size);
    Some(if content_bytes == 2 { size + 256 } else { size })
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn packed(content: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(content).unwrap();
        // Without a flush, the frame would declare its size, and a window no larger than that.
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    fn reader(source: &[u8]) -> ZstdReader<&[u8]> {
        ZstdReader::new(PeekReader::new(source, 4096))
    }

    fn unpack(source: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader(source).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn window_sizes_are_read_from_frame_headers() {
        for log in [10, 20, 23, 25, 27, 31] {
            assert_eq!(window_of(&packed(b"", log)), Some(1 << log), "{log}");
        }
        for size in [0, 1, 255, 256, 257, 65_791, 65_792, 70_000] {
            // A small content that is compressed as a whole is its own window.
            let packed = zstd::bulk::compress(&vec![7; size], 19).unwrap();
            assert_eq!(window_of(&packed), Some(size as u64), "{size}");
        }
        let with_mantissa = [MAGIC, &[0, 13 << 3 | 5]].concat();
        assert_eq!(window_of(&with_mantissa), Some((8 << 20) / 8 * 13));
        for head in [
            &b""[..],
            b"\x28\xb5\x2f",
            MAGIC,
            b"\x28\xb5\x2f\xfd\xe0\0",
            b"text",
        ] {
            assert_eq!(window_of(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_window_that_is_too_large_is_refused_with_its_size() {
        let content = vec![b'x'; 100_000];
        assert_eq!(unpack(&packed(&content, 25)).unwrap(), content);
        // The same holds for a later frame.
        let frames = [packed(&content, 10), packed(&content, 27)].concat();
        for source in [packed(&content, 27), frames] {
            assert_eq!(
                unpack(&source).unwrap_err().to_string(),
                "a frame asks for a window of 128 MiB, and at most 32 MiB are taken; it has to be \
                 compressed without `--long` and `--ultra`"
            );
        }
    }

    #[test]
    fn frames_of_growing_windows_follow_each_other() {
        let frames = [12, 20, 25, 10].map(|log| packed(&log.to_string().into_bytes(), log));
        assert_eq!(unpack(&frames.concat()).unwrap(), b"12202510");
    }

    #[test]
    fn data_other_than_frames_is_an_error() {
        let good = packed(b"good", 10);
        for (name, tail, kind) in [
            (
                "text",
                &b"trailing garbage, longer than a header"[..],
                io::ErrorKind::InvalidData,
            ),
            ("three bytes", &MAGIC[..3], io::ErrorKind::UnexpectedEof),
            (
                "half a frame",
                &good[..good.len() - 1],
                io::ErrorKind::UnexpectedEof,
            ),
        ] {
            let source = [&good[..], tail].concat();
            assert_eq!(unpack(&source).unwrap_err().kind(), kind, "{name}");
        }
        let mut damaged = packed(&vec![b'x'; 1000], 10);
        damaged[8] ^= 0xff;
        unpack(&damaged).unwrap_err();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_reader_agrees_with_the_zstd_library(
            frames in prop::collection::vec((0_usize..200_000, 10_u32..22, any::<bool>()), 1..4),
            flipped in prop::option::of((any::<prop::sample::Index>(), 0_u8..8)),
            length in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut stream = Vec::new();
            for (size, window_log, is_skippable) in frames {
                if is_skippable {
                    stream.extend([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
                }
                let content: Vec<u8> = (0..size).map(|at| (at * at / 7) as u8).collect();
                stream.extend(packed(&content, window_log));
            }
            if let Some((at, bit)) = flipped {
                let at = at.index(stream.len());
                stream[at] ^= 1 << bit;
            }
            if let Some(length) = length {
                stream.truncate(1 + length.index(stream.len()));
            }
            match (unpack(&stream), zstd::decode_all(&stream[..])) {
                (Ok(ours), Ok(theirs)) => prop_assert!(ours == theirs),
                (Err(_), Err(_)) => {}
                // The flipped bit may have made the window too large.
                (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("window"), "{}", error),
                (Ok(_), Err(error)) => prop_assert!(false, "unpacked, but {}", error),
            }
        }
    }
}
