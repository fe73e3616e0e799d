//! The decompressed bytes of layers, received from the pipeline.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::TarError;
use super::header::BLOCK;
use crate::oci::DiffId;

/// A buffer of decompressed bytes. When the chunk is dropped, the buffer returns to the pipeline,
/// which has a fixed number of them; that bounds the memory.
#[derive(Debug)]
pub(in crate::rootfs) struct Chunk {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Chunk {
    pub(in crate::rootfs) fn new(bytes: Vec<u8>, home: Sender<Vec<u8>>) -> Chunk {
        Chunk { bytes, home }
    }

    pub(in crate::rootfs) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // If the pipeline has ended, the buffer is not needed.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// Part of a chunk.
#[derive(Clone, Debug)]
pub(in crate::rootfs) struct Slice {
    chunk: Arc<Chunk>,
    range: Range<usize>,
}

impl Slice {
    pub(in crate::rootfs) fn bytes(&self) -> &[u8] {
        &self.chunk.bytes[self.range.clone()]
    }

    /// Whether both are parts of the same chunk.
    pub(in crate::rootfs) fn shares_chunk_with(&self, other: &Slice) -> bool {
        Arc::ptr_eq(&self.chunk, &other.chunk)
    }
}

/// A message of the pipeline.
#[derive(Debug)]
pub(in crate::rootfs) enum Piece {
    /// A layer with this name begins.
    Begin(String),
    /// The next bytes of the layer.
    Data(Arc<Chunk>),
    /// The layer ends, with its digest if one was computed; or it cannot be read, or has another
    /// digest than expected.
    End(Result<Option<DiffId>, TarError>),
}

/// Reads the bytes of one layer after the other.
pub(in crate::rootfs) struct Source<'a> {
    pieces: &'a Receiver<Piece>,
    chunk: Option<Arc<Chunk>>,
    at: usize,
    has_ended: bool,
    diff_id: Option<DiffId>,
}

impl<'a> Source<'a> {
    pub(in crate::rootfs) fn new(pieces: &'a Receiver<Piece>) -> Source<'a> {
        Source {
            pieces,
            chunk: None,
            at: 0,
            has_ended: true,
            diff_id: None,
        }
    }

    /// Goes on to the next layer and returns its name; `None` if there are no more. The layer
    /// before must have been read to its end.
    pub(in crate::rootfs) fn next_layer(&mut self) -> Option<String> {
        match self.pieces.recv() {
            Ok(Piece::Begin(name)) => {
                self.has_ended = false;
                Some(name)
            }
            // The pipeline has ended.
            _ => None,
        }
    }

    /// Takes the digest of the layer that ended last, if one was computed.
    pub(in crate::rootfs) fn diff_id(&mut self) -> Option<DiffId> {
        self.diff_id.take()
    }

    /// Reads the layer to its end, where the pipeline reports errors.
    pub(in crate::rootfs) fn drain(&mut self) -> Result<(), TarError> {
        while self.take(usize::MAX)?.is_some() {}
        Ok(())
    }

    /// Returns the next bytes, at most `limit`; `None` at the end of the layer.
    pub(in crate::rootfs) fn take(&mut self, limit: usize) -> Result<Option<Slice>, TarError> {
        loop {
            if let Some(chunk) = &self.chunk {
                let start = self.at;
                let end = chunk.bytes.len().min(start.saturating_add(limit));
                if start < end {
                    self.at = end;
                    return Ok(Some(Slice {
                        chunk: Arc::clone(chunk),
                        range: start..end,
                    }));
                }
                self.chunk = None;
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.pieces.recv() {
                Ok(Piece::Data(chunk)) => {
                    self.chunk = Some(chunk);
                    self.at = 0;
                }
                Ok(Piece::End(result)) => {
                    self.has_ended = true;
                    self.diff_id = result?;
                }
                // The pipeline ends every layer, unless it panics.
                Ok(Piece::Begin(_)) | Err(_) => return Err(TarError::Truncated),
            }
        }
    }

    /// Returns the next block; `None` at the end of the layer.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.take(BLOCK - filled)? {
                Some(slice) => {
                    let bytes = slice.bytes();
                    block[filled..filled + bytes.len()].copy_from_slice(bytes);
                    filled += bytes.len();
                }
                None if filled == 0 => return Ok(None),
                None => return Err(TarError::Truncated),
            }
        }
        Ok(Some(block))
    }
}
