//! Blobs: files named by the digest of their content.
//!
//! An unfinished blob is `layers/.staging/<digest>.<host>`, locked by the process that downloads
//! it. So a hundred pulls of one image download it once: a process that waited for the lock finds
//! the blob complete. The next process resumes the file that a killed one has left.
//!
//! Large blobs are not hashed here, but by the download or import while it reads the bytes.

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

/// The suffix of the file that marks a blob as damaged.
const DAMAGED: &str = ".damaged";

/// How many bytes are written before the system is asked to begin writing them to the disk.
const WRITE_BACK_BYTES: u64 = 2 << 20;

/// The blobs of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    layout: &'a Layout,
}

/// The result of [`Blobs::stage`].
#[derive(Debug)]
pub enum Staging<'a> {
    /// The blob is there already.
    Present,
    /// The blob has to be written; no other process on this host writes it.
    Needed(StagedBlob<'a>),
}

impl<'a> Blobs<'a> {
    pub(super) fn new(layout: &'a Layout) -> Blobs<'a> {
        Blobs { layout }
    }

    /// Whether the blob is there, has `size` bytes if that is known, and is not marked as damaged.
    pub fn contains(&self, digest: &Digest, size: Option<u64>) -> bool {
        let is_right =
            |meta: Metadata| meta.is_file() && size.is_none_or(|size| size == meta.len());
        self.layout.blob(digest).metadata().is_ok_and(is_right)
            && !self.damage_mark(digest).exists()
    }

    /// Marks a blob whose content does not have its digest, so that the next pull or load replaces
    /// it.
    ///
    /// # Errors
    /// `StoreError::Fs` if the mark cannot be created.
    pub fn mark_damaged(&self, digest: &Digest) -> Result<(), StoreError> {
        fs::create_dir_all(&self.layout.blob_staging())?;
        Ok(set_marker(&self.damage_mark(digest), true)?)
    }

    /// Reads a blob of at most `limit` bytes, if it is there. One that does not have `size` bytes, if
    /// that is known, counts as missing; so does one without its digest, which is marked as damaged.
    ///
    /// # Errors
    /// `StoreError::Fs` if it cannot be read or is larger than `limit`, which says nothing about its
    /// digest, or if the mark cannot be created.
    pub fn read_small(
        &self,
        digest: &Digest,
        size: Option<u64>,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.contains(digest, size) {
            return Ok(None);
        }
        let bytes = match fs::read_limited(&self.layout.blob(digest), limit) {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?,
        };
        if digest.algorithm().digest(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        self.mark_damaged(digest)?;
        Ok(None)
    }

    /// Renames a file to the blob `digest`, and replaces the one that is there.
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

    /// Whether the file of this name in the staging directory marks a blob that is there.
    pub(super) fn is_mark_in_use(&self, name: &OsStr) -> bool {
        let digest = name.to_str().and_then(|name| name.strip_suffix(DAMAGED));
        digest
            .and_then(|digest| digest.parse().ok())
            .is_some_and(|digest| self.layout.blob(&digest).is_file())
    }

    /// The number of bytes that an unfinished download has of a blob.
    pub fn staged_bytes(&self, digest: &Digest) -> u64 {
        let path = self.staging_path(digest);
        path.symlink_metadata().map_or(0, |meta| meta.len())
    }

    /// The file of an unfinished blob. Each host has its own, since locks may not be visible to
    /// other hosts.
    fn staging_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{digest}.{}", host_name());
        self.layout.blob_staging().join(name)
    }

    /// Begins to write a blob of `size` bytes, if that is known, behind the bytes that an earlier
    /// try has left. Waits while another process writes the same blob.
    ///
    /// # Errors
    /// `StoreError::Fs` if the staging file cannot be created, opened or examined.
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
                // A symbolic link of this name never leads to a staged blob.
                .custom_flags(OFlags::NOFOLLOW.bits() as i32)
                .open(&path)
                .map_err(FsError::at("open", &path))?;
            let locked = retry_on_intr(|| flock(&file, FlockOperation::LockExclusive));
            if locked.is_err() {
                // Without locks, two processes must not share a file, so each writes its own.
                let path = staging.join(format!("{digest}.{}", unique_name()));
                let file = File::create_new(&path).map_err(FsError::at("create", &path))?;
                return StagedBlob::of(file, path, digest, *self).map(Staging::Needed);
            }
            // The process that held the lock may have renamed the file that is open here.
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

/// A blob being written. If it is dropped without being published, its bytes stay for the next try.
#[derive(Debug)]
pub struct StagedBlob<'a> {
    blobs: Blobs<'a>,
    digest: Digest,
    file: File,
    path: PathBuf,
    len: u64,
    /// The system has been asked to write the bytes before this offset to the disk.
    written_back: u64,
}

impl<'a> StagedBlob<'a> {
    /// Continues the blob whose first bytes are in `file`.
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

    /// The number of bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file that has the bytes until they are published.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the bytes that an earlier try has left, from the beginning.
    ///
    /// # Errors
    /// The file cannot be rewound.
    pub fn existing(&mut self) -> io::Result<impl Read + '_> {
        self.file.rewind()?;
        Ok((&self.file).take(self.len))
    }

    /// Discards all bytes.
    ///
    /// # Errors
    /// The file cannot be truncated.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.written_back = 0;
        Ok(())
    }

    /// Gives the blob its final name. The caller has compared its size and digest; no other content
    /// may get this name.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file cannot be synced or renamed.
    pub fn publish(self) -> Result<PathBuf, StoreError> {
        self.file
            .sync_data()
            .map_err(FsError::at("sync", &self.path))?;
        Ok(self.blobs.name(&self.path, &self.digest)?)
    }
}

impl Write for StagedBlob<'_> {
    /// If the disk is full, the unfinished blob is removed, since it would keep the disk full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            if matches!(error.kind(), StorageFull | QuotaExceeded) {
                // The first error is returned.
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
    fn blob_download_resumes() {
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
    fn a_blob_without_its_digest_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let digest = Digest::of(b"hello world");
        let path = store.layout().blob(&digest);
        let read = |size, limit| store.blobs().read_small(&digest, size, limit);
        for content in ["hello", "Hello world", "hello world and more"] {
            std::fs::write(&path, content).unwrap();
            assert!(store.blobs().contains(&digest, None));
            assert_eq!(read(None, 20).unwrap(), None);
            assert!(!store.blobs().contains(&digest, None), "{content}");
            let mut blob = needed(&store, &digest);
            blob.write_all(b"hello world").unwrap();
            blob.publish().unwrap();
            for size in [None, Some(11)] {
                let found = read(size, 11).unwrap();
                assert_eq!(found.as_deref(), Some(&b"hello world"[..]));
            }
            assert!(store.blobs().contains(&digest, Some(11)), "{content}");
        }
        // A wrong size shows without a mark.
        assert!(!store.blobs().contains(&digest, Some(12)));
        // Whoever asks with a wrong size or limit may be wrong, and not the blob.
        assert_eq!(read(Some(5), 11).unwrap(), None);
        assert!(read(None, 5).is_err());
        assert!(store.blobs().contains(&digest, Some(11)));
    }

    #[test]
    fn a_link_is_no_staged_blob() {
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
    fn second_writer_waits_and_finds_the_blob() {
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
