//! Decompressed bytes, written straight into the buffers they are handed on in.

use std::io::{self, Read};

/// How far back compressed bytes may refer to what they unpacked to: as deflate has it.
pub(super) const HISTORY_BYTES: usize = 32 * 1024;

/// A place for decompressed bytes, with room before them for those that they refer to.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    /// Where the content ends.
    end: usize,
}

impl Buffer {
    /// An empty buffer that holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Buffer {
        Buffer {
            bytes: vec![0; HISTORY_BYTES + capacity].into_boxed_slice(),
            end: HISTORY_BYTES,
        }
    }

    /// What it holds.
    pub fn content(&self) -> &[u8] {
        &self.bytes[HISTORY_BYTES..self.end]
    }

    /// Replaces the content by what `write` writes behind the first [`HISTORY_BYTES`] of all the
    /// room there is; `write` returns where that ends.
    pub(super) fn replace(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.end = HISTORY_BYTES;
        self.end = write(&mut self.bytes)?;
        Ok(())
    }
}

/// A stream that is decompressed.
pub trait Unpack: Send {
    /// Replaces the content of `buffer` by the next bytes: as many as it holds, fewer only at the
    /// end of the stream, and none behind it.
    ///
    /// # Errors
    /// Those of the source; the stream is cut or damaged.
    fn fill(&mut self, buffer: &mut Buffer) -> io::Result<()>;
}

/// Bytes that come as they are.
pub(super) struct Plain<R>(pub(super) R);

impl<R: Read + Send> Unpack for Plain<R> {
    fn fill(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        buffer.replace(|bytes| {
            let mut end = HISTORY_BYTES;
            while end < bytes.len() {
                match self.0.read(&mut bytes[end..]) {
                    Ok(0) => break,
                    Ok(count) => end += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(end)
        })
    }
}

/// Reads a decompressed stream as any other.
pub struct UnpackReader<'a> {
    stream: Box<dyn Unpack + 'a>,
    buffer: Buffer,
    /// How much of the buffer's content was handed out.
    at: usize,
}

const READER_BYTES: usize = 128 * 1024;

impl<'a> UnpackReader<'a> {
    /// Reads `stream` from where it is.
    pub fn new(stream: Box<dyn Unpack + 'a>) -> UnpackReader<'a> {
        UnpackReader {
            stream,
            buffer: Buffer::new(READER_BYTES),
            at: 0,
        }
    }
}

impl Read for UnpackReader<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.content().len() && !target.is_empty() {
            self.at = 0;
            self.stream.fill(&mut self.buffer)?;
        }
        let count = (&self.buffer.content()[self.at..]).read(target)?;
        self.at += count;
        Ok(count)
    }
}
