//! Hashing streams.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::oci::{Algorithm, Digest, Hasher};

/// Hashes and counts every byte read through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: Read> HashingReader<R> {
    /// Wraps `inner`.
    pub fn new(inner: R, algorithm: Algorithm) -> HashingReader<R> {
        HashingReader {
            inner,
            hasher: Hasher::new(algorithm),
            bytes: 0,
        }
    }

    /// Reads to the end, and returns the digest and the number of all bytes.
    ///
    /// # Errors
    /// Errors of the wrapped reader.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.hasher.finish(), self.bytes))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// Copies `source` to its end into `target`, while another thread hashes it, and returns the digest
/// and the number of the bytes.
///
/// # Errors
/// Errors of `source` and of `target`.
pub fn copy_hashed(
    source: &mut impl Read,
    target: &mut impl Write,
    algorithm: Algorithm,
) -> io::Result<(Digest, u64)> {
    let mut hasher = BackgroundHasher::new(algorithm);
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), bytes)),
            Ok(count) => {
                target.write_all(&buffer[..count])?;
                bytes += count as u64;
                buffer = hasher.update(buffer, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The number of buffers that may wait for the hashing thread, which bounds the memory.
const QUEUED_BUFFERS: usize = 8;

/// Hashes on a separate thread.
pub struct BackgroundHasher {
    algorithm: Algorithm,
    /// `None` before the first bytes.
    running: Option<Running>,
}

struct Running {
    /// Buffers to hash, with the number of bytes in each.
    filled: SyncSender<(Vec<u8>, usize)>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<Digest>,
}

impl BackgroundHasher {
    /// Begins a digest with `algorithm`.
    pub fn new(algorithm: Algorithm) -> BackgroundHasher {
        BackgroundHasher {
            algorithm,
            running: None,
        }
    }

    /// Adds the first `count` bytes of `buffer`, and returns another buffer of the same size for
    /// the next bytes.
    pub fn update(&mut self, buffer: Vec<u8>, count: usize) -> Vec<u8> {
        let algorithm = self.algorithm;
        let size = buffer.len();
        let running = self
            .running
            .get_or_insert_with(|| Running::start(algorithm));
        // The thread receives until this end is dropped.
        let _ = running.filled.send((buffer, count));
        match running.emptied.try_recv() {
            Ok(emptied) if emptied.len() == size => emptied,
            _ => vec![0; size],
        }
    }

    /// Begins the digest again, without any bytes.
    pub fn restart(&mut self) {
        self.running = None;
    }

    /// Waits until all bytes are hashed, and returns their digest. Bytes that are added later begin
    /// a new one.
    pub fn finish(&mut self) -> Digest {
        let Some(running) = self.running.take() else {
            return Hasher::new(self.algorithm).finish();
        };
        drop(running.filled);
        match running.thread.join() {
            Ok(digest) => digest,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Running {
    fn start(algorithm: Algorithm) -> Running {
        let (filled, work) = sync_channel::<(Vec<u8>, usize)>(QUEUED_BUFFERS);
        let (done, emptied) = channel();
        let thread = thread::spawn(move || {
            let mut hasher = Hasher::new(algorithm);
            for (buffer, count) in work {
                hasher.update(&buffer[..count]);
                // The other end may be gone.
                let _ = done.send(buffer);
            }
            hasher.finish()
        });
        Running {
            filled,
            emptied,
            thread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_in_the_background_gives_the_same_digest() {
        let mut hasher = BackgroundHasher::new(Algorithm::Sha256);
        assert_eq!(hasher.finish(), Digest::of(b""));
        hasher.update(b"forgotten".to_vec(), 9);
        hasher.restart();
        let pieces: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; usize::from(n) * 100]).collect();
        for piece in &pieces {
            let with_rest = [piece.as_slice(), b"rest"].concat();
            hasher.update(with_rest, piece.len());
        }
        assert_eq!(hasher.finish(), Digest::of(&pieces.concat()));
        // The next digest begins anew.
        hasher.update(b"next".to_vec(), 4);
        assert_eq!(hasher.finish(), Digest::of(b"next"));
    }
}
