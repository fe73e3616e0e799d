//! Gzip as `gzip -d` reads it: member after member, whatever follows the last one ignored.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::peek::PeekReader;

pub(super) const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Decompresses all members of a gzip stream. Bytes behind them that start no further member,
/// such as the zeros that tapes and some build tools append, are left unread.
pub(super) struct GzipReader<R> {
    /// None once the last member has ended.
    member: Option<GzDecoder<PeekReader<R>>>,
}

impl<R: Read> GzipReader<R> {
    pub(super) fn new(source: PeekReader<R>) -> GzipReader<R> {
        GzipReader {
            member: Some(GzDecoder::new(source)),
        }
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if let Some(ended) = self.member.take() {
                let mut source = ended.into_inner();
                if source.peek(MAGIC.len())? == MAGIC {
                    self.member = Some(GzDecoder::new(source));
                }
            }
        }
        Ok(0)
    }
}
