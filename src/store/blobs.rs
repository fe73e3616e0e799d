//! Blobs: files named by the digest of their content.
//!
//! A blob on its way is `layers/.staging/<digest>`, locked by the process that fetches it, so
//! that a hundred pulls of one image download it once; a process that waited finds the blob done.
//! What a killed process left there is resumed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use super::error::StoreError;
use super::layout::Layout;
use crate::host::fs::{self, FsError};
use crate::oci::{Digest, Hasher};

const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// The blobs of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    layout: &'a Layout,
}

/// What asking for a blob to write gives.
#[derive(Debug)]
pub enum Staging {
    /// It is there already.
    Present,
    /// It has to be written, by the holder alone.
    Needed(StagedBlob),
}

impl<'a> Blobs<'a> {
    pub(super) fn new(layout: &'a Layout) -> Blobs<'a> {
        Blobs { layout }
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.layout.blob(digest).is_file()
    }

    /// Begins to write a blob, after what an earlier try left. Waits while another process
    /// writes the same one.
    ///
    /// # Errors
    /// The staging file cannot be made, locked or read.
    pub fn stage(&self, digest: &Digest) -> Result<Staging, StoreError> {
        let staging = self.layout.blob_staging();
        fs::create_dir_all(&staging)?;
        let path = staging.join(digest.to_string());
        loop {
            if self.contains(digest) {
                return Ok(Staging::Present);
            }
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o666)
                .open(&path)
                .map_err(FsError::at("open", &path))?;
            let locked = retry_on_intr(|| flock(&file, FlockOperation::LockExclusive));
            if locked.is_err() {
                // Without locks two processes must not share a file: each writes its own.
                let path = staging.join(format!("{digest}.{}", uuid::Uuid::new_v4()));
                let file = File::create_new(&path).map_err(FsError::at("create", &path))?;
                return Ok(Staging::Needed(StagedBlob::empty(file, path, digest, self)));
            }
            // The one who held the lock may have renamed the file that is open here.
            let opened = file.metadata().map_err(FsError::at("examine", &path))?;
            let is_current = path.symlink_metadata().is_ok_and(|current| {
                current.ino() == opened.ino() && current.dev() == opened.dev()
            });
            if is_current && !self.contains(digest) {
                return StagedBlob::resume(file, path, digest, self).map(Staging::Needed);
            }
            if is_current {
                fs::remove_file(&path)?;
            }
        }
    }
}

/// A blob being written. Dropped unpublished, it stays for the next try.
#[derive(Debug)]
pub struct StagedBlob {
    file: File,
    path: PathBuf,
    target: PathBuf,
    digest: Digest,
    hasher: HasherBox,
    len: u64,
}

/// A hasher that can be debug-printed, as every public type here.
struct HasherBox(Box<Hasher>);

impl std::fmt::Debug for HasherBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl StagedBlob {
    fn empty(file: File, path: PathBuf, digest: &Digest, blobs: &Blobs) -> StagedBlob {
        StagedBlob {
            file,
            path,
            target: blobs.layout.blob(digest),
            digest: digest.clone(),
            hasher: HasherBox(Box::new(Hasher::new(digest.algorithm()))),
            len: 0,
        }
    }

    /// Takes over what is in `file`, hashing it.
    fn resume(
        file: File,
        path: PathBuf,
        digest: &Digest,
        blobs: &Blobs,
    ) -> Result<StagedBlob, StoreError> {
        let mut staged = StagedBlob::empty(file, path, digest, blobs);
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        loop {
            let count = (&staged.file)
                .read(&mut buffer)
                .map_err(FsError::at("read", &staged.path))?;
            if count == 0 {
                return Ok(staged);
            }
            staged.hasher.0.update(&buffer[..count]);
            staged.len += count as u64;
        }
    }

    /// The bytes there are so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is there yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = HasherBox(Box::new(Hasher::new(self.digest.algorithm())));
        self.len = 0;
        Ok(())
    }

    /// The digest of the bytes so far.
    pub fn current_digest(&self) -> Digest {
        (*self.hasher.0).clone().finish()
    }

    /// Gives the blob its name, after a last check of its digest.
    ///
    /// # Errors
    /// `StoreError::Digest` if the bytes are not what the name says; they are thrown away then.
    pub fn publish(self) -> Result<PathBuf, StoreError> {
        let found = self.current_digest();
        if found != self.digest {
            fs::remove_file(&self.path)?;
            return Err(StoreError::Digest {
                expected: self.digest,
                found,
            });
        }
        self.file
            .sync_data()
            .map_err(FsError::at("sync", &self.path))?;
        fs::rename(&self.path, &self.target)?;
        Ok(self.target)
    }

    /// Where the bytes are until they are published.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for StagedBlob {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all_at(bytes, self.len)?;
        self.hasher.0.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn store(directory: &Path) -> Store {
        let store = Store::open(Layout::below(directory));
        store.ensure().unwrap();
        store
    }

    fn needed(store: &Store, digest: &Digest) -> StagedBlob {
        match store.blobs().stage(digest).unwrap() {
            Staging::Needed(blob) => blob,
            Staging::Present => panic!("present"),
        }
    }

    #[test]
    fn a_blob_is_resumed_where_it_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"hello world");
        let mut blob = needed(&store, &digest);
        blob.write_all(b"hello ").unwrap();
        drop(blob);
        assert!(!store.blobs().contains(&digest));

        let mut blob = needed(&store, &digest);
        assert_eq!(blob.len(), 6);
        blob.write_all(b"world").unwrap();
        let path = blob.publish().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"hello world");
        assert!(matches!(
            store.blobs().stage(&digest).unwrap(),
            Staging::Present
        ));
    }

    #[test]
    fn wrong_bytes_never_get_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"right");
        let mut blob = needed(&store, &digest);
        blob.write_all(b"wrong").unwrap();
        assert!(matches!(blob.publish(), Err(StoreError::Digest { .. })));
        assert!(!store.blobs().contains(&digest));
        assert!(needed(&store, &digest).is_empty());
    }

    #[test]
    fn of_two_writers_one_waits_and_finds_the_blob() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"x");
        let mut blob = needed(&store, &digest);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.blobs().stage(&digest).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            blob.write_all(b"x").unwrap();
            blob.publish().unwrap();
            assert!(matches!(waiter.join().unwrap(), Staging::Present));
        });
    }
}
