//! A reader of gzip that works as `gzip -d` does: it reads one member after the other, and ignores
//! what follows the last one.
//!
//! The decoder is fdeflate, the fastest one that streams (decision 0013). It only reads zlib's
//! format: two bytes of header, the deflate stream, four bytes of checksum. So each member is
//! presented in that format: this module supplies the header, and the decoder, which is told to
//! ignore the checksum, takes the first half of gzip's trailer for it.
//!
//! Source: RFC 1952 (gzip), RFC 1950 (zlib).

use std::io::{self, BufRead, Read};

use crc32fast::Hasher;
use fdeflate::{DecompressionError, Decompressor};

use super::peek::PeekReader;

pub(super) const MAGIC: &[u8] = &[0x1f, 0x8b];

/// A zlib header for deflate.
const ZLIB_HEADER: &[u8] = &[0x78, 0x01];
/// The longest distance of a back reference in deflate.
const HISTORY_BYTES: usize = 32 * 1024;
/// The bytes that one step unpacks. Together with the history they fit into a second-level cache.
const STEP_BYTES: usize = 128 * 1024;

/// Decompresses all members of a gzip stream. Bytes after the last one, such as the zeros that
/// tapes and some build tools append, are left unread.
pub(super) struct GzipReader<R> {
    source: PeekReader<R>,
    /// The current member; `None` once the last one has ended.
    member: Option<Member>,
    /// The last unpacked bytes of the member. Those before `start` were returned, and are history
    /// for the decoder; those up to `end` are still to be returned.
    window: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The state of the current member.
struct Member {
    inflate: Decompressor,
    unpacked: Hasher,
    unpacked_bytes: u64,
    recent: Recent,
}

impl<R: Read> GzipReader<R> {
    /// Begins to read `source` at the header of its first member.
    ///
    /// # Errors
    /// There is no valid header, or it cannot be read.
    pub(super) fn new(source: PeekReader<R>) -> io::Result<GzipReader<R>> {
        let mut reader = GzipReader {
            source,
            member: None,
            window: vec![0; HISTORY_BYTES + STEP_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
        };
        reader.begin()?;
        Ok(reader)
    }

    fn begin(&mut self) -> io::Result<()> {
        skip_header(&mut self.source)?;
        // Back references never reach into the member before.
        (self.start, self.end) = (0, 0);
        let mut inflate = Decompressor::new();
        inflate.ignore_adler32();
        inflate
            .read(ZLIB_HEADER, &mut self.window, 0, false)
            .map_err(damaged)?;
        self.member = Some(Member {
            inflate,
            unpacked: Hasher::new(),
            unpacked_bytes: 0,
            recent: Recent::default(),
        });
        Ok(())
    }

    /// Unpacks the next bytes, when all others were returned. There are none at the end of a
    /// member.
    fn step(&mut self) -> io::Result<()> {
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        if self.end == self.window.len() {
            self.window
                .copy_within(self.end - HISTORY_BYTES..self.end, 0);
            self.end = HISTORY_BYTES;
        }
        self.start = self.end;
        while self.start == self.end && !member.inflate.is_done() {
            let input = self.source.fill_buf()?;
            let is_over = input.is_empty();
            let (taken, made) = member
                .inflate
                .read(input, &mut self.window, self.start, is_over)
                .map_err(damaged)?;
            member.recent.push(&input[..taken]);
            self.source.consume(taken);
            self.end += made;
        }
        let unpacked = &self.window[self.start..self.end];
        member.unpacked.update(unpacked);
        member.unpacked_bytes += unpacked.len() as u64;
        Ok(())
    }

    /// Checks the trailer, and begins the next member if there is one.
    fn end(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else {
            return Ok(());
        };
        let trailer = member.trailer();
        let ahead = self.source.peek(TRAILER_BYTES / 2)?;
        match member.recent.rest_of(&trailer, ahead) {
            Some(rest) => self.source.consume(rest),
            None if ahead.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Err(invalid("its checksum or its length is wrong")),
        }
        if self.source.peek(MAGIC.len())? == MAGIC {
            self.begin()?;
        }
        Ok(())
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end && self.member.is_some() {
            self.step()?;
            if self
                .member
                .as_ref()
                .is_some_and(|member| member.inflate.is_done())
            {
                // The next member uses the window, so the last bytes are returned before it begins.
                if self.start < self.end {
                    break;
                }
                self.end()?;
            }
        }
        let count = buffer.len().min(self.end - self.start);
        buffer[..count].copy_from_slice(&self.window[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

const TRAILER_BYTES: usize = 8;

impl Member {
    /// The expected trailer: checksum, and length modulo 2^32.
    fn trailer(&self) -> [u8; TRAILER_BYTES] {
        let length = self.unpacked_bytes as u32;
        let checksum = u64::from(self.unpacked.clone().finalize());
        (u64::from(length) << 32 | checksum).to_le_bytes()
    }
}

/// The last bytes that the decoder has consumed: half a trailer as the checksum, and up to three
/// more, since it reads eight bytes at a time where there are as many.
#[derive(Default)]
struct Recent([u8; TRAILER_BYTES / 2 + MAX_EXCESS]);

const MAX_EXCESS: usize = 3;

impl Recent {
    fn push(&mut self, taken: &[u8]) {
        let len = self.0.len();
        let count = taken.len().min(len);
        self.0.copy_within(count.., 0);
        self.0[len - count..].copy_from_slice(&taken[taken.len() - count..]);
    }

    /// Returns how many bytes of `trailer` were not consumed, and come first in `ahead`; `None` if
    /// the trailer is not here.
    fn rest_of(&self, trailer: &[u8; TRAILER_BYTES], ahead: &[u8]) -> Option<usize> {
        (0..=MAX_EXCESS).find_map(|excess| {
            let (consumed, rest) = trailer.split_at(TRAILER_BYTES / 2 + excess);
            (self.0.ends_with(consumed) && ahead.starts_with(rest)).then_some(rest.len())
        })
    }
}

/// Skips the header of a member.
fn skip_header(source: &mut impl BufRead) -> io::Result<()> {
    const DEFLATE: u8 = 8;
    const HEADER_CHECKSUM: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const RESERVED: u8 = 0b1110_0000;

    let fixed: [u8; 10] = take(source)?;
    let (method, flags) = (fixed[2], fixed[3]);
    if !fixed.starts_with(MAGIC) || method != DEFLATE || flags & RESERVED != 0 {
        return Err(invalid("it has no header of gzip"));
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(take(source)?);
        let skipped = io::copy(&mut source.take(length.into()), &mut io::sink())?;
        if skipped < length.into() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            skip_text(source)?;
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        take::<2>(source)?;
    }
    Ok(())
}

fn take<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match source.read_exact(&mut bytes) {
        // The original error has a message about buffers.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(error.kind().into()),
        result => result.map(|()| bytes),
    }
}

/// Skips text of any length and the NUL that ends it.
fn skip_text(source: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = bytes.iter().position(|&byte| byte == 0);
        let count = end.map_or(bytes.len(), |end| end + 1);
        source.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn damaged(error: DecompressionError) -> io::Error {
    match error {
        DecompressionError::InsufficientInput => io::ErrorKind::UnexpectedEof.into(),
        error => invalid(&format!("{error:?}")),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("corrupt gzip stream: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn unpack(source: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzipReader::new(PeekReader::new(source, capacity))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Text with repetitions, for which an encoder uses all types of blocks and references.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::sample::select(vec![&b"the same again"[..], b"\0", b"ab"])
                .prop_map(<[u8]>::to_vec),
            (any::<u8>(), 0_usize..70_000).prop_map(|(byte, count)| vec![byte; count]),
        ];
        prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
    }

    fn members() -> impl Strategy<Value = Vec<(Vec<u8>, u32)>> {
        prop::collection::vec((text(), 0_u32..=9), 1..4)
    }

    fn content(members: &[(Vec<u8>, u32)]) -> Vec<u8> {
        members
            .iter()
            .flat_map(|(bytes, _)| bytes.clone())
            .collect()
    }

    fn pack(members: &[(Vec<u8>, u32)]) -> Vec<u8> {
        let mut packed = Vec::new();
        for (bytes, level) in members {
            let mut encoder = GzEncoder::new(&mut packed, Compression::new(*level));
            // A flush makes an empty block.
            let (first, second) = bytes.split_at(bytes.len() / 2);
            encoder.write_all(first).unwrap();
            encoder.flush().unwrap();
            encoder.write_all(second).unwrap();
            encoder.finish().unwrap();
        }
        packed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn packed_bytes_are_unpacked(members in members(), capacity in 16_usize..5000) {
            prop_assert!(unpack(&pack(&members), capacity).unwrap() == content(&members));
        }

        #[test]
        fn damaged_streams_never_unpack_to_other_bytes(
            members in members(),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            length in any::<prop::sample::Index>(),
        ) {
            let (content, whole) = (content(&members), pack(&members));
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= 1 << bit;
            for damaged in [&flipped[..], &whole[..length.index(whole.len())]] {
                // A member whose magic is damaged counts as garbage, which is left unread.
                if let Ok(unpacked) = unpack(damaged, 4096) {
                    prop_assert!(content.starts_with(&unpacked));
                }
            }
        }
    }

    #[test]
    fn every_part_of_a_header_is_skipped() {
        let long = vec![b'n'; 100_000];
        for builder in [
            GzBuilder::new().filename("name"),
            GzBuilder::new().comment("comment").extra(vec![0; 3000]),
            GzBuilder::new().filename(long).extra("").mtime(1),
        ] {
            let mut packed = Vec::new();
            let mut encoder = builder.write(&mut packed, Compression::fast());
            encoder.write_all(b"content").unwrap();
            encoder.finish().unwrap();
            assert_eq!(unpack(&packed, 64).unwrap(), b"content");
        }
        let mut with_checksum = vec![0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 3, 0xaa, 0xbb];
        with_checksum.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(unpack(&with_checksum, 64).unwrap(), b"");
    }

    #[test]
    fn trailer_is_found_at_any_decoder_position() {
        let trailer = *b"12345678";
        for (taken, ahead, rest) in [
            (&b"...1234"[..], &b"5678next"[..], Some(4)),
            (b"..12345", b"678", Some(3)),
            (b".123456", b"78", Some(2)),
            (b"1234567", b"8\x1f\x8b", Some(1)),
            (b"1234567", b"", None),
            (b"...1234", b"567", None),
            (b"...1235", b"5678", None),
            (b"1234567", b"9", None),
        ] {
            let mut recent = Recent::default();
            recent.push(b"long before");
            for byte in taken {
                recent.push(&[*byte]);
            }
            assert_eq!(recent.rest_of(&trailer, ahead), rest, "{taken:?} {ahead:?}");
        }
    }
}
