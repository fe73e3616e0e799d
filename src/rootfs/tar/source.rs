//! The decompressed bytes of layers, as they arrive from the thread that decompresses.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::TarError;
use super::header::BLOCK;
use crate::oci::DiffId;

/// Decompressed bytes. The buffer goes back to where it came from when the last user is done,
/// which is what bounds the memory of all that is under way.
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
        // Nobody at home means that no further buffer is needed.
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

    /// Whether both keep the same buffer from going home.
    pub(in crate::rootfs) fn shares_chunk_with(&self, other: &Slice) -> bool {
        Arc::ptr_eq(&self.chunk, &other.chunk)
    }
}

/// What arrives: for each layer its name, its bytes, and how it ended.
#[derive(Debug)]
pub(in crate::rootfs) enum Piece {
    /// A layer begins.
    Begin(String),
    /// Its next bytes.
    Data(Arc<Chunk>),
    /// It ended and was what it should be, with the digest if one was made; or it could not be
    /// read or was not.
    End(Result<Option<DiffId>, TarError>),
}

/// The bytes of one layer after the other.
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

    /// Goes on to the next layer and returns its name. The one before must have been read to
    /// its end.
    pub(in crate::rootfs) fn next_layer(&mut self) -> Option<String> {
        match self.pieces.recv() {
            Ok(Piece::Begin(name)) => {
                self.has_ended = false;
                Some(name)
            }
            // The sender is gone: no more layers, or it gave up.
            _ => None,
        }
    }

    /// The digest of the layer that ended last, if one was made.
    pub(in crate::rootfs) fn diff_id(&mut self) -> Option<DiffId> {
        self.diff_id.take()
    }

    /// Reads what is left of the layer; what the sender found out about it comes with its end.
    pub(in crate::rootfs) fn drain(&mut self) -> Result<(), TarError> {
        while self.take(usize::MAX)?.is_some() {}
        Ok(())
    }

    /// Returns the next bytes, between one and `limit` of them, or none at the end of the layer.
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
                // The sender never leaves a layer without an end, unless it panicked.
                Ok(Piece::Begin(_)) | Err(_) => return Err(TarError::Truncated),
            }
        }
    }

    /// Returns the next block, or none if the layer ends here.
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
