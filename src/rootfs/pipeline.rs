//! Decompressing and hashing layers on threads beside the one that applies them.
//!
//! ```text
//! source → decompress ──┬─→ Source (parser, writers)
//!          (pipeline)   └─→ hash
//! ```
//! Both sides share the same chunks. Their number is fixed, so that a slow disk slows the download
//! down instead of filling the memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use super::Layer;
use super::tar::{Chunk, Piece, TarError};
use crate::oci::{Algorithm, DiffId, Digest, Hasher};
use crate::progress::{Counted, Task};
use crate::stream::decompress;

const CHUNK_BYTES: usize = 256 * 1024;

/// How far the pipeline reads ahead of its receiver, and which layers it hashes.
pub(super) struct ReadAhead {
    /// The algorithm for layers without a diff_id; `None` if these are not hashed.
    unknown: Option<Algorithm>,
    /// The number of chunks in memory.
    max_chunks: usize,
}

impl ReadAhead {
    /// For layers that are unpacked: 8 MiB, since writing to the disk pauses now and then.
    pub(super) const UNPACK: ReadAhead = ReadAhead {
        unknown: None,
        max_chunks: 32,
    };

    /// For layers that are checked, or written before their turn: 2 MiB, since several may be read
    /// at once.
    pub(super) fn beside_others(unknown: Option<Algorithm>) -> ReadAhead {
        ReadAhead {
            unknown,
            max_chunks: 8,
        }
    }
}

/// Starts reading `layers`, each with the task that counts its bytes, and returns the receiver of
/// their content.
pub(super) fn start<'scope, 'a, I>(
    scope: &'scope Scope<'scope, '_>,
    layers: I,
    read_ahead: ReadAhead,
) -> Receiver<Piece>
where
    I: IntoIterator<Item = (Layer<'a>, Box<dyn Task>)> + Send + 'scope,
{
    let (pieces, arriving) = channel();
    let (work, hashing) = channel();
    scope.spawn(move || hash(&hashing));
    scope.spawn(move || {
        let mut pipeline = Pipeline::new(pieces, work, read_ahead);
        for (layer, task) in layers {
            if !pipeline.layer(layer, &*task) {
                return;
            }
        }
    });
    arriving
}

/// A step of the hashing thread.
enum HashWork {
    Begin(Algorithm),
    Data(Arc<Chunk>),
    End(Sender<Digest>),
}

fn hash(work: &Receiver<HashWork>) {
    let mut current = None;
    for step in work {
        match step {
            HashWork::Begin(algorithm) => current = Some(Hasher::new(algorithm)),
            HashWork::Data(chunk) => {
                if let Some(hasher) = &mut current {
                    hasher.update(chunk.bytes());
                }
            }
            HashWork::End(answer) => {
                if let Some(hasher) = current.take() {
                    // The thread that asked may have given up.
                    let _ = answer.send(hasher.finish());
                }
            }
        }
    }
}

struct Pipeline {
    pieces: Sender<Piece>,
    hashing: Sender<HashWork>,
    /// Buffers of chunks that are done with.
    returned: Receiver<Vec<u8>>,
    /// The sender of `returned`, for chunks to keep.
    home: Sender<Vec<u8>>,
    /// The number of buffers that may still be made.
    unmade: usize,
    read_ahead: ReadAhead,
}

impl Pipeline {
    fn new(pieces: Sender<Piece>, hashing: Sender<HashWork>, read_ahead: ReadAhead) -> Pipeline {
        let (home, returned) = channel();
        Pipeline {
            pieces,
            hashing,
            returned,
            home,
            unmade: read_ahead.max_chunks,
            read_ahead,
        }
    }

    /// Sends one layer; returns whether more are wanted.
    fn layer(&mut self, layer: Layer<'_>, task: &dyn Task) -> bool {
        if self.pieces.send(Piece::Begin(layer.name)).is_err() {
            return false;
        }
        let source = Counted::new(layer.source, task);
        let result = self.content(source, layer.diff_id);
        let is_good = result.is_ok();
        self.pieces.send(Piece::End(result)).is_ok() && is_good
    }

    fn content(
        &mut self,
        source: impl Read + Send,
        expected: Option<DiffId>,
    ) -> Result<Option<DiffId>, TarError> {
        let (_, mut reader) = decompress(source).map_err(TarError::Read)?;
        // Errors of the hashing thread's channel are ignored: it ends only when everything is given
        // up, and then sending the next piece fails.
        let algorithm = match &expected {
            Some(DiffId(digest)) => Some(digest.algorithm()),
            None => self.read_ahead.unknown,
        };
        if let Some(algorithm) = algorithm {
            let _ = self.hashing.send(HashWork::Begin(algorithm));
        }
        loop {
            let mut bytes = self.buffer();
            let count = fill(&mut reader, &mut bytes).map_err(TarError::Read)?;
            if count == 0 {
                // The buffer serves for the next layer.
                let _ = self.home.send(bytes);
                break;
            }
            bytes.truncate(count);
            let chunk = Arc::new(Chunk::new(bytes, self.home.clone()));
            if algorithm.is_some() {
                let _ = self.hashing.send(HashWork::Data(Arc::clone(&chunk)));
            }
            if self.pieces.send(Piece::Data(chunk)).is_err() {
                return Ok(None);
            }
        }
        if algorithm.is_none() {
            return Ok(None);
        }
        let (answer, digest) = channel();
        let _ = self.hashing.send(HashWork::End(answer));
        let Ok(digest) = digest.recv() else {
            return Err(TarError::Read(io::Error::other("hashing stopped")));
        };
        let actual = DiffId(digest);
        match expected {
            Some(expected) if expected != actual => {
                Err(TarError::WrongContent { expected, actual })
            }
            _ => Ok(Some(actual)),
        }
    }

    /// Returns a buffer of the full size; waits until there is one.
    fn buffer(&mut self) -> Vec<u8> {
        let mut bytes = match self.returned.try_recv() {
            Ok(bytes) => bytes,
            Err(_) if self.unmade > 0 => {
                self.unmade -= 1;
                Vec::new()
            }
            // Never disconnected, since `home` is a sender.
            Err(_) => self.returned.recv().unwrap_or_default(),
        };
        bytes.resize(CHUNK_BYTES, 0);
        bytes
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
