//! Small files written by several threads.
//!
//! Making a file costs mostly time in the kernel, so a few threads share it. They are handed
//! files only where nothing is in the way, and in directories that exist; whoever needs what they
//! write to be there waits with [`Writers::drain`].

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, available_parallelism};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::entry::EntryPath;
use super::error::Failure;
use super::tar::{Slice, Timestamp};

/// Files are handed over in batches, since waking a thread costs as much as writing one.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: usize = 512 * 1024;
/// Chunks that a batch keeps from going home, far fewer than there are: while it fills, chunks
/// must still come in.
const BATCH_CHUNKS: usize = 8;
const MAX_BATCHES: usize = 16;
const MAX_WRITERS: usize = 4;

/// A file to be made, with all that belongs to it.
pub(super) struct NewFile {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) path: EntryPath,
    pub(super) metadata: Metadata,
    pub(super) content: Vec<Slice>,
}

/// What is set on a file beside its content.
pub(super) struct Metadata {
    pub(super) mode: u32,
    /// Whether the mode has bits that making the file does not set: those that the umask
    /// clears, and setuid, setgid and sticky.
    pub(super) needs_chmod: bool,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The threads' common state.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is work, or there will be no more.
    work: Condvar,
    /// Some work was done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<NewFile>>,
    running: usize,
    is_closed: bool,
    failure: Option<Failure>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        condition
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.state();
        loop {
            let Some(batch) = state.waiting.pop_front() else {
                if state.is_closed {
                    return;
                }
                state = Queue::wait(&self.work, state);
                continue;
            };
            state.running += 1;
            // After a failure, the rest only has to disappear.
            let is_wanted = state.failure.is_none();
            drop(state);
            let result = if is_wanted {
                batch.iter().try_for_each(NewFile::write)
            } else {
                Ok(())
            };
            drop(batch);
            state = self.state();
            state.running -= 1;
            if let Err(failure) = result {
                state.failure.get_or_insert(failure);
            }
            self.done.notify_one();
        }
    }
}

/// The side that hands files over. Dropping it ends the threads.
pub(super) struct Writers<'q> {
    queue: &'q Queue,
    batch: Vec<NewFile>,
    batch_bytes: usize,
    batch_chunks: usize,
    /// Whether nothing was handed over since the last drain.
    is_idle: bool,
}

impl<'q> Writers<'q> {
    /// Starts as many threads as the machine has use for.
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        queue: &'q Queue,
    ) -> Writers<'q>
    where
        'q: 'scope,
    {
        let count = available_parallelism().map_or(1, usize::from);
        for _ in 0..count.min(MAX_WRITERS) {
            scope.spawn(|| queue.run());
        }
        Writers {
            queue,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_chunks: 0,
            is_idle: true,
        }
    }

    /// Has a file made, at some time before the next [`Writers::drain`] returns.
    ///
    /// # Errors
    /// That of any file handed over before.
    pub(super) fn push(&mut self, file: NewFile) -> Result<(), Failure> {
        self.is_idle = false;
        self.batch_bytes += file.path.as_bytes().len() + file.metadata.bytes();
        let mut last = self.batch.last().and_then(|last| last.content.last());
        for slice in &file.content {
            self.batch_bytes += slice.bytes().len();
            if !last.is_some_and(|last| last.shares_chunk_with(slice)) {
                self.batch_chunks += 1;
            }
            last = Some(slice);
        }
        self.batch.push(file);
        if self.batch.len() < BATCH_FILES
            && self.batch_bytes < BATCH_BYTES
            && self.batch_chunks < BATCH_CHUNKS
        {
            return Ok(());
        }
        self.hand_over()
    }

    /// Waits until all files are made.
    ///
    /// # Errors
    /// That of the first that failed.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        if self.is_idle {
            return Ok(());
        }
        self.hand_over()?;
        let mut state = self.queue.state();
        while !state.waiting.is_empty() || state.running > 0 {
            state = Queue::wait(&self.queue.done, state);
        }
        self.is_idle = true;
        state.failure.take().map_or(Ok(()), Err)
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        self.batch_bytes = 0;
        self.batch_chunks = 0;
        let batch = mem::take(&mut self.batch);
        let mut state = self.queue.state();
        while state.waiting.len() >= MAX_BATCHES {
            state = Queue::wait(&self.queue.done, state);
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if !batch.is_empty() {
            state.waiting.push_back(batch);
            self.queue.work.notify_one();
        }
        Ok(())
    }
}

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        self.queue.state().is_closed = true;
        self.queue.work.notify_all();
    }
}

impl NewFile {
    fn write(&self) -> Result<(), Failure> {
        let file = create_file(self.directory.as_fd(), &self.path, self.metadata.mode)?;
        let mut slices: Vec<IoSlice<'_>> = self
            .content
            .iter()
            .map(|slice| IoSlice::new(slice.bytes()))
            .collect();
        write_all(file.as_fd(), &mut slices, &self.path)?;
        self.metadata.set(file.as_fd(), &self.path)
    }
}

/// Makes an empty file under a name that nothing has.
pub(super) fn create_file(
    directory: BorrowedFd<'_>,
    path: &EntryPath,
    mode: u32,
) -> Result<OwnedFd, Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(
        directory,
        path.split().1,
        flags,
        Mode::from_raw_mode(mode & 0o777),
    )
    .map_err(Failure::at("create", path.as_bytes()))
}

/// Writes all of `slices` to the end of what was written.
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
    /// What it takes in memory beside its fixed size.
    fn bytes(&self) -> usize {
        let xattrs = self.xattrs.iter();
        xattrs
            .map(|xattr| size_of_val(xattr) + xattr.0.len() + xattr.1.len())
            .sum()
    }

    /// Sets all on a file that has its content: writing clears setuid and setgid, and changes
    /// the time.
    pub(super) fn set(&self, file: BorrowedFd<'_>, path: &EntryPath) -> Result<(), Failure> {
        set_xattrs(file, &self.xattrs);
        if self.needs_chmod {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
                .map_err(Failure::at("set the mode of", path.as_bytes()))?;
        }
        rustix::fs::futimens(file, &modified_at(self.mtime))
            .map_err(Failure::at("set the time of", path.as_bytes()))
    }
}

/// Sets extended attributes where the file system and its limits allow them: they are an extra
/// that no program in an image depends on.
pub(super) fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) {
    for (name, value) in xattrs {
        let _ = rustix::fs::fsetxattr(file, &name[..], value, rustix::fs::XattrFlags::empty());
    }
}

/// The mtime alone.
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
