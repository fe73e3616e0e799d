//! Writing small files on several threads.
//!
//! A file is given to them only when its directory exists and nothing has its name.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::Scope;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};

use super::entry::{Entry, EntryPath};
use super::error::{Failure, Stop};
use super::prefetch::StagedContent;
use super::tar::{Members, Slice, SparseMap, TarError, Timestamp};
use super::worker_pool::{Job, Queue, WorkerPool};
use super::xattrs::{Xattrs, bytes_of_xattrs, set_xattrs};
use crate::host::fs::{TO_THE_END, begin_write_back};

/// The bytes in a batch.
const BATCH_BYTES: usize = 512 * 1024;
/// The chunks that a batch holds. They are far fewer than there are, since more chunks must come in
/// for the batch to be filled.
const BATCH_CHUNKS: usize = 8;

/// A file to be made.
pub(super) struct NewFile {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) path: EntryPath,
    pub(super) content: Content,
}

/// The content and metadata of a file.
pub(super) enum Content {
    /// They are in memory.
    Slices(Vec<Slice>, Metadata),
    /// They are in a file that only has to be moved.
    Staged(StagedContent),
}

impl Content {
    fn slices(&self) -> &[Slice] {
        match self {
            Content::Slices(slices, _) => slices,
            Content::Staged(_) => &[],
        }
    }

    /// The bytes that it takes in memory beside the slices.
    fn bytes(&self) -> usize {
        match self {
            Content::Slices(_, metadata) => metadata.bytes(),
            Content::Staged(_) => 0,
        }
    }
}

/// The metadata of a file.
pub(super) struct Metadata {
    pub(super) mode: u32,
    /// Whether the mode has bits that creating the file does not set: bits that the umask clears,
    /// setuid, setgid, or sticky.
    pub(super) needs_chmod: bool,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Xattrs,
    /// See [`super::ApplyOptions`].
    pub(super) begin_write_back: bool,
}

/// How the files of a tree are made.
#[derive(Clone, Copy)]
pub(super) struct FileStyle {
    /// The mode bits that the umask, or a default ACL, clears in new files.
    mask: u32,
    /// See [`super::ApplyOptions`].
    begin_write_back: bool,
}

impl FileStyle {
    /// Finds out how files below `directory` are made.
    pub(super) fn of(directory: &OwnedFd, begin_write_back: bool) -> io::Result<FileStyle> {
        Ok(FileStyle {
            mask: creation_mask(directory)?,
            begin_write_back,
        })
    }

    /// The metadata of the file of an entry.
    pub(super) fn metadata(self, entry: &Entry) -> Metadata {
        Metadata {
            mode: entry.mode,
            needs_chmod: entry.mode & (self.mask | 0o7000) != 0,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
            begin_write_back: self.begin_write_back,
        }
    }
}

/// Finds out which mode bits new files do not get, by making one. The umask cannot be read without
/// changing it for all threads, and does not count where the directory has a default ACL.
fn creation_mask(directory: &OwnedFd) -> io::Result<u32> {
    let name = c".udocker-mode-probe";
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let probe = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o777))?;
    let mode = rustix::fs::fstat(&probe)?.st_mode;
    rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
    Ok(!mode & 0o777)
}

/// The threads that write files, as the applier sees them.
pub(super) struct Writers<'q> {
    workers: WorkerPool<'q, NewFile>,
    batch_bytes: usize,
    batch_chunks: usize,
}

impl<'q> Writers<'q> {
    /// Starts the threads.
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        queue: &'q Queue<NewFile>,
    ) -> Writers<'q>
    where
        'q: 'scope,
    {
        Writers {
            workers: WorkerPool::start(scope, queue),
            batch_bytes: 0,
            batch_chunks: 0,
        }
    }

    /// Adds a file, which is made before the next [`Writers::drain`] returns.
    ///
    /// # Errors
    /// The error of any earlier file.
    pub(super) fn push(&mut self, file: NewFile) -> Result<(), Failure> {
        self.batch_bytes += file.path.as_bytes().len() + file.content.bytes();
        let last = self.workers.last();
        let mut last = last.and_then(|last| last.content.slices().last());
        for slice in file.content.slices() {
            self.batch_bytes += slice.bytes().len();
            if !last.is_some_and(|last| last.shares_chunk_with(slice)) {
                self.batch_chunks += 1;
            }
            last = Some(slice);
        }
        self.workers.push(file)?;
        if self.batch_bytes >= BATCH_BYTES || self.batch_chunks >= BATCH_CHUNKS {
            self.workers.submit()?;
        }
        if self.workers.last().is_none() {
            self.batch_bytes = 0;
            self.batch_chunks = 0;
        }
        Ok(())
    }

    /// Waits until all files are made.
    ///
    /// # Errors
    /// The error of the first file that failed.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        self.batch_bytes = 0;
        self.batch_chunks = 0;
        self.workers.drain()
    }
}

impl Job for NewFile {
    const BATCH: usize = 32;
    const MAX_BATCHES: usize = 16;

    fn run(&self) -> Result<(), Failure> {
        let directory = self.directory.as_fd();
        match &self.content {
            Content::Slices(slices, metadata) => {
                let (_, name) = self.path.split();
                let file = create_file(directory, name, metadata.mode, &self.path)?;
                let bytes = slices.iter().map(|slice| IoSlice::new(slice.bytes()));
                write_all(file.as_fd(), &mut bytes.collect::<Vec<_>>(), &self.path)?;
                metadata.set(file.as_fd(), &self.path)
            }
            Content::Staged(staged) => staged.move_to(directory, &self.path),
        }
    }
}

/// Creates an empty file under a name that nothing has; `path` is its name in messages.
pub(super) fn create_file(
    directory: BorrowedFd<'_>,
    name: &[u8],
    mode: u32,
    path: &EntryPath,
) -> Result<OwnedFd, Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(mode & 0o777))
        .map_err(Failure::at("create", path.as_bytes()))
}

/// Writes the content of the current member of an archive into an empty file.
pub(super) fn write_content(
    file: BorrowedFd<'_>,
    path: &EntryPath,
    sparse: Option<&SparseMap>,
    members: &mut Members<'_, '_>,
) -> Result<(), Stop> {
    let Some(map) = sparse else {
        while let Some(slice) = members.content(usize::MAX)? {
            write_all(file, &mut [IoSlice::new(slice.bytes())], path)?;
        }
        return Ok(());
    };
    rustix::fs::ftruncate(file, map.size)
        .map_err(Failure::at("set the size of", path.as_bytes()))?;
    for segment in &map.segments {
        let start = rustix::fs::SeekFrom::Start(segment.offset);
        rustix::fs::seek(file, start).map_err(Failure::at("write", path.as_bytes()))?;
        let mut left = segment.length;
        while left > 0 {
            let limit = usize::try_from(left).unwrap_or(usize::MAX);
            // There is as much content as the map says, which was checked.
            let slice = members.content(limit)?.ok_or(TarError::BadSparseMap)?;
            left -= slice.bytes().len() as u64;
            write_all(file, &mut [IoSlice::new(slice.bytes())], path)?;
        }
    }
    Ok(())
}

/// Writes all of `slices` at the file's offset.
pub(super) fn write_all(
    file: BorrowedFd<'_>,
    mut slices: &mut [IoSlice<'_>],
    path: &EntryPath,
) -> Result<(), Failure> {
    while slices.iter().any(|slice| !slice.is_empty()) {
        let count = rustix::io::retry_on_intr(|| rustix::io::writev(file, slices))
            .map_err(Failure::at("write", path.as_bytes()))?;
        IoSlice::advance_slices(&mut slices, count);
    }
    Ok(())
}

impl Metadata {
    /// The bytes that it takes in memory beside its fixed size.
    fn bytes(&self) -> usize {
        bytes_of_xattrs(&self.xattrs)
    }

    /// Sets the metadata of a file that has its content. Writing later would clear setuid and
    /// setgid, and change the mtime.
    pub(super) fn set(&self, file: BorrowedFd<'_>, path: &EntryPath) -> Result<(), Failure> {
        if self.begin_write_back {
            begin_write_back(file, 0, TO_THE_END);
        }
        set_xattrs(file, &self.xattrs);
        if self.needs_chmod {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
                .map_err(Failure::at("set the mode of", path.as_bytes()))?;
        }
        rustix::fs::futimens(file, &modified_at(self.mtime))
            .map_err(Failure::at("set the time of", path.as_bytes()))
    }
}

impl From<&Stat> for Timestamp {
    /// Returns the mtime.
    fn from(stat: &Stat) -> Timestamp {
        Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }
}

/// The argument that sets the mtime of a file, and leaves its atime.
pub(super) fn modified_at(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: mtime.nanoseconds,
        },
    }
}
