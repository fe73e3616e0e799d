//! Hashing what is read.

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

    /// Reads what is left and returns digest and number of all bytes.
    ///
    /// # Errors
    /// Those of the wrapped reader.
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

/// Copies `source` to its end into `target`, and returns digest and number of the bytes. They are
/// hashed beside that.
///
/// # Errors
/// Those of both sides.
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

/// How many buffers may wait for the hashing thread. With the buffers' size this bounds the memory.
const QUEUED_BUFFERS: usize = 8;

/// Hashes on a thread of its own, so that who brings the bytes can go on meanwhile.
pub struct BackgroundHasher {
    algorithm: Algorithm,
    /// None before the first bytes.
    running: Option<Running>,
}

struct Running {
    /// Buffers, and how many bytes of each count.
    filled: SyncSender<(Vec<u8>, usize)>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<Digest>,
}

impl BackgroundHasher {
    /// Starts a digest with `algorithm`.
    pub fn new(algorithm: Algorithm) -> BackgroundHasher {
        BackgroundHasher {
            algorithm,
            running: None,
        }
    }

    /// Adds the first `count` bytes of `buffer`, after those that are being hashed still, and
    /// returns another buffer of the same size for the next.
    pub fn update(&mut self, buffer: Vec<u8>, count: usize) -> Vec<u8> {
        let algorithm = self.algorithm;
        let size = buffer.len();
        let running = self
            .running
            .get_or_insert_with(|| Running::start(algorithm));
        // It takes everything until this end is gone.
        let _ = running.filled.send((buffer, count));
        match running.emptied.try_recv() {
            Ok(emptied) if emptied.len() == size => emptied,
            _ => vec![0; size],
        }
    }

    /// Forgets all bytes.
    pub fn restart(&mut self) {
        self.running = None;
    }

    /// Waits until all bytes are hashed, and returns their digest. What is added later begins a
    /// new one.
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
                // Nobody may want it back any more.
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
        // Nothing of it is in the next one.
        hasher.update(b"next".to_vec(), 4);
        assert_eq!(hasher.finish(), Digest::of(b"next"));
    }
}
