//! Reading an archive and copying it at the same time.

use std::fs::File;
use std::io::{self, Chain, Cursor, Read, Write};

use crate::oci::{Algorithm, Digest};
use crate::stream::{BackgroundHasher, Compression};

const BUFFER_BYTES: usize = 256 * 1024;

/// Passes on the bytes that it reads, and writes them to a file.
///
/// It hashes the bytes only if they are compressed: the reader of the layer hashes the uncompressed
/// bytes anyway.
pub(super) struct TeeReader<R> {
    source: Chain<Cursor<Vec<u8>>, R>,
    file: File,
    hasher: Option<BackgroundHasher>,
    bytes: u64,
    /// The error of writing the file, which readers would take for one of the source.
    failure: Option<io::Error>,
}

impl<R: Read> TeeReader<R> {
    /// Copies `source` to `file`.
    ///
    /// # Errors
    /// The first bytes cannot be read.
    pub(super) fn new(mut source: R, file: File) -> io::Result<TeeReader<R>> {
        let mut head = Vec::new();
        let mut start = source.by_ref().take(Compression::HEAD_BYTES as u64);
        start.read_to_end(&mut head)?;
        let is_compressed = Compression::sniff(&head) != Compression::None;
        Ok(TeeReader {
            source: Cursor::new(head).chain(source),
            file,
            hasher: is_compressed.then(|| BackgroundHasher::new(Algorithm::Sha256)),
            bytes: 0,
            failure: None,
        })
    }

    /// The error of writing the file, if there was one.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Copies the rest of the source. Returns the number of all bytes, and their digest if they are
    /// compressed.
    ///
    /// # Errors
    /// The source cannot be read, or the file cannot be written.
    pub(super) fn finish(mut self) -> io::Result<(u64, Option<Digest>)> {
        let mut rest = vec![0; BUFFER_BYTES];
        while self.read(&mut rest)? > 0 {}
        let digest = self.hasher.as_mut().map(BackgroundHasher::finish);
        Ok((self.bytes, digest))
    }

    fn copy(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.bytes += piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece.to_vec(), piece.len());
        }
        Ok(())
    }
}

impl<R: Read> Read for TeeReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if count > 0
            && let Err(error) = self.copy(&buffer[..count])
        {
            let passed_on = io::Error::from(error.kind());
            self.failure = Some(error);
            return Err(passed_on);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::decompress;

    /// Returns one byte at a time, as a pipe may.
    struct OneByteReader(Cursor<Vec<u8>>);

    impl Read for OneByteReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn all_bytes_are_copied_and_hashed_if_they_are_compressed() {
        let compressed = zstd::encode_all(&b"text"[..], 1).unwrap();
        // Bytes behind the archive belong to the file, too.
        let with_rest = [&compressed[..], b"rest"].concat();
        for (bytes, digest) in [
            (b"plain text".to_vec(), None),
            (Vec::new(), None),
            (compressed.clone(), Some(Digest::of(&compressed))),
            (with_rest.clone(), Some(Digest::of(&with_rest))),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("kept");
            let file = File::create(&path).unwrap();
            let mut tee = TeeReader::new(OneByteReader(Cursor::new(bytes.clone())), file).unwrap();
            let (_, mut reader) = decompress(&mut tee).unwrap();
            reader.read_exact(&mut [0; 0]).unwrap();
            drop(reader);
            let length = bytes.len() as u64;
            assert_eq!(tee.finish().unwrap(), (length, digest));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn the_error_of_writing_the_file_is_kept() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut tee = TeeReader::new(&b"plain text"[..], full).unwrap();
        assert!(tee.read(&mut [0; 8]).is_err());
        let failure = tee.failure().unwrap();
        assert_eq!(failure.raw_os_error(), Some(libc::ENOSPC));
    }
}
