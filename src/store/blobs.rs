//! Blobs: files named by the digest of their content.
//!
//! A blob on its way is `layers/.staging/<digest>.<host>`, locked by the process that fetches it, so
//! that a hundred pulls of one image download it once; a process that waited finds the blob done.
//! What a killed process left there is resumed.
//!
//! Nothing large is hashed here: it is while the bytes come in, by whoever brings them.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::retry_on_intr;

use super::error::StoreError;
use super::layout::Layout;
use super::links::set_marker;
use crate::host::facts::host_name;
use crate::host::fs::{self, FsError};
use crate::host::unique::unique_name;
use crate::oci::Digest;

/// Behind a blob's digest, what marks it as damaged.
const DAMAGED: &str = ".damaged";

/// So many bytes are written between two requests to bring them to the disk.
const WRITE_BACK_BYTES: u64 = 2 << 20;

/// The blobs of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    layout: &'a Layout,
}

/// What asking for a blob to write gives.
#[derive(Debug)]
pub enum Staging<'a> {
    /// It is there already.
    Present,
    /// It has to be written, by the holder alone.
    Needed(StagedBlob<'a>),
}

impl<'a> Blobs<'a> {
    pub(super) fn new(layout: &'a Layout) -> Blobs<'a> {
        Blobs { layout }
    }

    /// Whether the blob is there: with as many bytes as it has to have, where that is known, and not
    /// marked as damaged.
    pub fn contains(&self, digest: &Digest, size: Option<u64>) -> bool {
        let is_right =
            |meta: Metadata| meta.is_file() && size.is_none_or(|size| size == meta.len());
        self.layout.blob(digest).metadata().is_ok_and(is_right)
            && !self.damage_mark(digest).exists()
    }

    /// Notes that a blob is not what its name says, so that the next one who needs it brings it
    /// again. What has it meanwhile finds out by itself.
    ///
    /// # Errors
    /// The repository cannot be written.
    pub fn mark_damaged(&self, digest: &Digest) -> Result<(), StoreError> {
        fs::create_dir_all(&self.layout.blob_staging())?;
        Ok(set_marker(&self.damage_mark(digest), true)?)
    }

    /// Reads a blob of at most `limit` bytes, if it is there. One that does not have its digest is
    /// marked as damaged, and counts as missing.
    ///
    /// # Errors
    /// The repository cannot be written.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.layout.blob(digest);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read_limited(&path, limit).ok();
        let bytes = bytes.filter(|bytes| digest.algorithm().digest(bytes) == *digest);
        if bytes.is_none() {
            self.mark_damaged(digest)?;
        }
        Ok(bytes)
    }

    /// Gives a file its name as a blob, in place of what has it.
    pub(super) fn name(&self, file: &Path, digest: &Digest) -> Result<PathBuf, FsError> {
        let path = self.layout.blob(digest);
        fs::rename(file, &path)?;
        fs::remove_file(&self.damage_mark(digest))?;
        Ok(path)
    }

    fn damage_mark(&self, digest: &Digest) -> PathBuf {
        self.layout
            .blob_staging()
            .join(format!("{digest}{DAMAGED}"))
    }

    /// Whether what has this name beside unfinished downloads marks a blob that is there.
    pub(super) fn is_mark_in_use(&self, name: &OsStr) -> bool {
        let digest = name.to_str().and_then(|name| name.strip_suffix(DAMAGED));
        digest
            .and_then(|digest| digest.parse().ok())
            .is_some_and(|digest| self.layout.blob(&digest).is_file())
    }

    /// The number of bytes that an unfinished download has left of a blob.
    pub fn staged_bytes(&self, digest: &Digest) -> u64 {
        let path = self.staging_path(digest);
        path.symlink_metadata().map_or(0, |meta| meta.len())
    }

    /// Where a blob is written until it is whole. Another host may not see the lock on it, so it
    /// writes to another file.
    fn staging_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{digest}.{}", host_name());
        self.layout.blob_staging().join(name)
    }

    /// Begins to write a blob of `size` bytes, where that is known, after what an earlier try left.
    /// Waits while another process writes the same one.
    ///
    /// # Errors
    /// The staging file cannot be made, locked or read.
    pub fn stage(&self, digest: &Digest, size: Option<u64>) -> Result<Staging<'a>, StoreError> {
        let staging = self.layout.blob_staging();
        fs::create_dir_all(&staging)?;
        let path = self.staging_path(digest);
        loop {
            if self.contains(digest, size) {
                return Ok(Staging::Present);
            }
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o666)
                // What a link leads to is never the file that it has the name of.
                .custom_flags(OFlags::NOFOLLOW.bits() as i32)
                .open(&path)
                .map_err(FsError::at("open", &path))?;
            let locked = retry_on_intr(|| flock(&file, FlockOperation::LockExclusive));
            if locked.is_err() {
                // Without locks two processes must not share a file: each writes its own.
                let path = staging.join(format!("{digest}.{}", unique_name()));
                let file = File::create_new(&path).map_err(FsError::at("create", &path))?;
                return StagedBlob::of(file, path, digest, *self).map(Staging::Needed);
            }
            // The one who held the lock may have renamed the file that is open here.
            let opened = file.metadata().map_err(FsError::at("examine", &path))?;
            let is_current = path.symlink_metadata().is_ok_and(|current| {
                current.ino() == opened.ino() && current.dev() == opened.dev()
            });
            if is_current && !self.contains(digest, size) {
                return StagedBlob::of(file, path, digest, *self).map(Staging::Needed);
            }
            if is_current {
                fs::remove_file(&path)?;
            }
        }
    }
}

/// A blob being written. Dropped unpublished, it stays for the next try.
#[derive(Debug)]
pub struct StagedBlob<'a> {
    blobs: Blobs<'a>,
    digest: Digest,
    file: File,
    path: PathBuf,
    len: u64,
    /// The bytes before this are on their way to the disk.
    written_back: u64,
}

impl<'a> StagedBlob<'a> {
    /// Takes over what is in `file`.
    fn of(
        file: File,
        path: PathBuf,
        digest: &Digest,
        blobs: Blobs<'a>,
    ) -> Result<StagedBlob<'a>, StoreError> {
        let len = file
            .metadata()
            .map_err(FsError::at("examine", &path))?
            .len();
        Ok(StagedBlob {
            blobs,
            digest: digest.clone(),
            file,
            path,
            len,
            written_back: len,
        })
    }

    /// The number of bytes there are so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is there yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file the bytes are in until they are published.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what an earlier try has left, from the beginning.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn existing(&mut self) -> io::Result<impl Read + '_> {
        self.file.rewind()?;
        Ok((&self.file).take(self.len))
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.written_back = 0;
        Ok(())
    }

    /// Gives the blob its name. Whoever wrote it has compared size and digest with what the name
    /// says; nothing else may get it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn publish(self) -> Result<PathBuf, StoreError> {
        self.file
            .sync_data()
            .map_err(FsError::at("sync", &self.path))?;
        Ok(self.blobs.name(&self.path, &self.digest)?)
    }
}

impl Write for StagedBlob<'_> {
    /// Where the disk is full, what is there so far is removed: it would keep the disk full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            if matches!(error.kind(), StorageFull | QuotaExceeded) {
                // The error that matters is the first one.
                let _ = fs::remove_file(&self.path);
            }
            return Err(error);
        }
        self.len += bytes.len() as u64;
        let pending = self.len - self.written_back;
        if pending >= WRITE_BACK_BYTES {
            fs::begin_write_back(self.file.as_fd(), self.written_back, pending);
            self.written_back = self.len;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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

    fn needed<'a>(store: &'a Store, digest: &Digest) -> StagedBlob<'a> {
        match store.blobs().stage(digest, Some(11)).unwrap() {
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
        assert!(!store.blobs().contains(&digest, None));
        assert_eq!(store.blobs().staged_bytes(&digest), 6);

        let mut blob = needed(&store, &digest);
        let mut existing = String::new();
        blob.existing()
            .unwrap()
            .read_to_string(&mut existing)
            .unwrap();
        assert_eq!(existing, "hello ");
        blob.write_all(b"world").unwrap();
        let path = blob.publish().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"hello world");
        assert!(matches!(
            store.blobs().stage(&digest, Some(11)).unwrap(),
            Staging::Present
        ));
    }

    #[test]
    fn what_is_not_what_its_name_says_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"hello world");
        let path = store.layout().blob(&digest);
        for content in ["hello", "Hello world", "hello world and more"] {
            std::fs::write(&path, content).unwrap();
            assert!(store.blobs().contains(&digest, None));
            assert_eq!(store.blobs().read_small(&digest, 11).unwrap(), None);
            assert!(!store.blobs().contains(&digest, None), "{content}");
            let mut blob = needed(&store, &digest);
            blob.write_all(b"hello world").unwrap();
            blob.publish().unwrap();
            let read = store.blobs().read_small(&digest, 11).unwrap();
            assert_eq!(read.as_deref(), Some(&b"hello world"[..]));
            assert!(store.blobs().contains(&digest, Some(11)), "{content}");
        }
        // What is not marked shows by its length.
        assert!(!store.blobs().contains(&digest, Some(12)));
    }

    #[test]
    fn a_link_is_no_blob_on_its_way() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"x");
        let path = needed(&store, &digest).path().to_path_buf();
        let elsewhere = directory.path().join("elsewhere");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(store.blobs().stage(&digest, None).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn of_two_writers_one_waits_and_finds_the_blob() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"x");
        let mut blob = needed(&store, &digest);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.blobs().stage(&digest, Some(1)).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            blob.write_all(b"x").unwrap();
            blob.publish().unwrap();
            assert!(matches!(waiter.join().unwrap(), Staging::Present));
        });
    }
}
