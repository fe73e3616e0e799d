//! A reader of bzip2 that works as `bzip2 -d` does: it reads one stream after the other, and
//! ignores what follows the last one.
//!
//! ```text
//! "BZh" level   blocks: 314159265359 checksum data …   end: 177245385090 checksum
//! ```

use std::io::{self, BufRead, Read};

use ::bzip2::{Decompress, Status};

use super::memory::Share;
use super::peek::PeekReader;

const MAGIC: &[u8] = b"BZh";
const BLOCK_MAGIC: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const END_MAGIC: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

/// The bytes that show whether there is a stream: a tar archive may begin with a name like "BZh1".
pub(super) const HEAD_BYTES: usize = 10;

/// What a decoder takes at level 9.
const DECODER_BYTES: u64 = 4 << 20;

/// Whether these bytes begin a stream, which may be cut short.
pub(super) fn is_start(head: &[u8]) -> bool {
    let Some([b'1'..=b'9', rest @ ..]) = head.strip_prefix(MAGIC) else {
        return false;
    };
    let rest = &rest[..rest.len().min(BLOCK_MAGIC.len())];
    BLOCK_MAGIC.starts_with(rest) || END_MAGIC.starts_with(rest)
}

/// Decompresses all streams of a file.
pub(super) struct Bzip2Reader<R> {
    source: PeekReader<R>,
    /// The decoder of the current stream, and its share of the memory; `None` after the last one.
    decoder: Option<(Decompress, Share)>,
}

impl<R: Read> Bzip2Reader<R> {
    /// Begins to read `source` at the header of its first stream. Waits for memory.
    pub(super) fn new(source: PeekReader<R>) -> Bzip2Reader<R> {
        Bzip2Reader {
            source,
            decoder: Some((Decompress::new(false), Share::take(DECODER_BYTES))),
        }
    }

    /// Begins the next stream, if there is one.
    fn begin_next(&mut self) -> io::Result<()> {
        let share = self.decoder.take().map(|(_, share)| share);
        if is_start(self.source.peek(HEAD_BYTES)?) {
            self.decoder = share.map(|share| (Decompress::new(false), share));
        }
        Ok(())
    }
}

impl<R: Read> Read for Bzip2Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty()
            && let Some((decoder, _)) = &mut self.decoder
        {
            let input = self.source.fill_buf()?;
            let is_over = input.is_empty();
            let (taken, made) = (decoder.total_in(), decoder.total_out());
            let status = decoder.decompress(input, buffer).map_err(damaged)?;
            let (taken, made) = (decoder.total_in() - taken, decoder.total_out() - made);
            self.source.consume(taken as usize);
            match status {
                Status::StreamEnd => self.begin_next()?,
                Status::MemNeeded => return Err(io::ErrorKind::OutOfMemory.into()),
                _ if made == 0 && is_over => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            if made > 0 {
                return Ok(made as usize);
            }
        }
        Ok(0)
    }
}

fn damaged(error: ::bzip2::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("its compressed data is damaged: {error}"),
    )
}
