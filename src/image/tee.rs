//! Reading an archive and keeping it in one go.

use std::fs::File;
use std::io::{self, Chain, Cursor, Read, Write};

use crate::oci::{Algorithm, Digest};
use crate::stream::{BackgroundHasher, Compression};

const BUFFER_BYTES: usize = 256 * 1024;

/// First bytes that tell whether an archive is compressed.
const HEAD_BYTES: u64 = 4;

/// Hands on what it reads, and writes it to a file meanwhile.
///
/// The bytes are hashed beside that only if they are compressed: those that are not, whoever reads
/// them through as a layer hashes anyway.
pub(super) struct TeeReader<R> {
    source: Chain<Cursor<Vec<u8>>, R>,
    file: File,
    hasher: Option<BackgroundHasher>,
    bytes: u64,
    /// Why the file could not be written, which readers would take for a fault of the source.
    failure: Option<io::Error>,
}

impl<R: Read> TeeReader<R> {
    /// Keeps what `source` has in `file`.
    ///
    /// # Errors
    /// Those of reading the first bytes.
    pub(super) fn new(mut source: R, file: File) -> io::Result<TeeReader<R>> {
        let mut head = Vec::new();
        source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        let is_compressed = Compression::sniff(&head) != Compression::None;
        Ok(TeeReader {
            source: Cursor::new(head).chain(source),
            file,
            hasher: is_compressed.then(|| BackgroundHasher::new(Algorithm::Sha256)),
            bytes: 0,
            failure: None,
        })
    }

    /// What went wrong with the file, if anything did.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Keeps what nobody has read, and returns how many bytes there were, and their digest if they
    /// are compressed.
    ///
    /// # Errors
    /// Those of both sides.
    pub(super) fn finish(mut self) -> io::Result<(u64, Option<Digest>)> {
        let mut rest = vec![0; BUFFER_BYTES];
        while self.read(&mut rest)? > 0 {}
        let digest = self.hasher.as_mut().map(BackgroundHasher::finish);
        Ok((self.bytes, digest))
    }

    fn keep(&mut self, piece: &[u8]) -> io::Result<()> {
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
            && let Err(error) = self.keep(&buffer[..count])
        {
            let told = io::Error::from(error.kind());
            self.failure = Some(error);
            return Err(told);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::decompress;

    /// Hands out one byte at a time, as a pipe may.
    struct OneByteReader(Cursor<Vec<u8>>);

    impl Read for OneByteReader {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn all_is_kept_and_hashed_if_it_is_compressed() {
        let compressed = zstd::encode_all(&b"text"[..], 1).unwrap();
        // What stands behind the archive belongs to the file, too.
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
            let mut keeping =
                TeeReader::new(OneByteReader(Cursor::new(bytes.clone())), file).unwrap();
            let (_, mut reader) = decompress(&mut keeping).unwrap();
            reader.read_exact(&mut [0; 0]).unwrap();
            drop(reader);
            let length = bytes.len() as u64;
            assert_eq!(keeping.finish().unwrap(), (length, digest));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_to_blame_itself() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut keeping = TeeReader::new(&b"plain text"[..], full).unwrap();
        assert!(keeping.read(&mut [0; 8]).is_err());
        let failure = keeping.failure().unwrap();
        assert_eq!(failure.raw_os_error(), Some(libc::ENOSPC));
    }
}
