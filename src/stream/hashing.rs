//! Hashing what is read.

use std::io::{self, Read, Write};

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

/// Copies `source` to its end into `target`, and returns digest and number of the bytes.
///
/// # Errors
/// Those of both sides.
pub fn copy_hashed(
    source: &mut impl Read,
    target: &mut impl Write,
    algorithm: Algorithm,
) -> io::Result<(Digest, u64)> {
    let mut source = HashingReader::new(source, algorithm);
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return source.finish(),
            Ok(count) => target.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
