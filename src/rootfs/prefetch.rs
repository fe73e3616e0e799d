//! Reading layers before their turn.
//!
//! The effect of an entry depends on the layers below it, but the content of a file does not. So
//! while one layer is being applied, the next ones are decompressed, and the content of their files
//! is written to a staging directory beside the tree, with numbers as names. When a layer's turn
//! comes, its entries are applied in order, and each file is moved to its place.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use rustix::fs::{Mode, RenameFlags};
use rustix::io::Errno;

use super::Layer;
use super::apply::next_entry;
use super::dir_stack::OPEN_DIRECTORY;
use super::entry::{Entry, EntryKind, EntryPath};
use super::error::{Failure, Stop};
use super::pipeline::{self, ReadAhead};
use super::plan::{Plan, plan};
use super::tar::{Members, Source, TarError};
use super::writers::{FileStyle, create_file, write_content};
use super::xattrs::{Xattrs, bytes_of_xattrs};
use crate::progress::Task;
use crate::stream::sniffed;

/// The most layers that are read at once.
const MAX_WORKERS: usize = 4;

/// The most memory that the entries of one layer take before its turn.
const MAX_QUEUE_BYTES: usize = 1 << 20;

/// The memory that the entries of all layers may take before one more layer is begun.
const MAX_BACKLOG_BYTES: usize = 4 << 20;

/// What a layer counts in the backlog beside its entries, since its directory is held open.
const LAYER_BYTES: usize = 64 << 10;

/// The number of layers that this machine can read at once, beside the one that is being applied.
pub(super) fn default_workers() -> usize {
    match available_parallelism().map_or(1, usize::from) {
        // A single processor has all of the work to do, whatever the order.
        1 => 0,
        processors => processors.min(MAX_WORKERS),
    }
}

/// The directory in which the files of layers wait for the turn of their layer.
pub(super) struct StagingArea {
    directory: OwnedFd,
    style: FileStyle,
    backlog: Arc<Backlog>,
}

impl StagingArea {
    /// Creates the directory at `path`, which does not exist yet.
    pub(super) fn new(path: &Path, begin_write_back: bool) -> io::Result<StagingArea> {
        fs::create_dir(path)?;
        let directory = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())?;
        Ok(StagingArea {
            style: FileStyle::of(&directory, begin_write_back)?,
            directory,
            backlog: Arc::default(),
        })
    }

    /// Waits until the backlog has room for another layer, and prepares to read it. Returns the
    /// reading end of its entries, and the job that fills it.
    pub(super) fn begin<'a>(
        &self,
        number: usize,
        layer: Layer<'a>,
        task: Box<dyn Task>,
    ) -> (StagedLayer, PrefetchJob<'a>) {
        self.backlog.wait_for_room();
        let directory = self.make_directory(&number.to_string());
        let queue = Arc::new(EntryQueue::new(Arc::clone(&self.backlog)));
        let staged = StagedLayer {
            name: layer.name.clone(),
            queue: Arc::clone(&queue),
        };
        let job = PrefetchJob {
            layer,
            task,
            directory: directory.map(Arc::new).map_err(io::Error::from),
            style: self.style,
            queue: EntryQueueWriter(queue),
        };
        (staged, job)
    }

    fn make_directory(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        rustix::fs::mkdirat(&self.directory, name, Mode::RWXU)?;
        let made = rustix::fs::openat(&self.directory, name, OPEN_DIRECTORY, Mode::empty())?;
        // It may have inherited setgid, which would give its group to every file in it.
        rustix::fs::fchmod(&made, Mode::RWXU)?;
        Ok(made)
    }
}

/// An entry of a layer that was read before its turn.
pub(super) struct StagedEntry {
    pub(super) entry: Entry,
    /// Where the content is, if the entry is a file to be made.
    pub(super) content: StagedContent,
}

/// The place of a file in the staging directory: the layer's directory, and the name in it.
pub(super) struct StagedContent {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) number: u64,
}

impl StagedContent {
    /// Moves the file to the name in `path`, which nothing has, in `directory`.
    pub(super) fn move_to(
        &self,
        directory: BorrowedFd<'_>,
        path: &EntryPath,
    ) -> Result<(), Failure> {
        let number = self.number.to_string();
        let (_, name) = path.split();
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.directory, &number, directory, name, flags) {
            // Some file systems do not support the flag.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&self.directory, &number, directory, name)
            }
            moved => moved,
        }
        .map_err(Failure::at("create", path.as_bytes()))
    }
}

impl StagedEntry {
    /// The bytes that the entry takes in memory.
    fn bytes(&self) -> usize {
        let target = match &self.entry.kind {
            EntryKind::HardLink { target } => target.as_bytes().len(),
            EntryKind::Symlink { target } => target.len(),
            _ => 0,
        };
        let xattrs = bytes_of_xattrs(&self.entry.xattrs);
        size_of::<Self>() + self.entry.path.as_bytes().len() + target + xattrs
    }
}

/// The reading end of a layer that is read before its turn. Dropping it ends the reading.
pub(super) struct StagedLayer {
    /// The layer's name in messages.
    pub(super) name: String,
    queue: Arc<EntryQueue>,
}

impl StagedLayer {
    /// Waits for the next entry; `None` at the end of the layer.
    ///
    /// # Errors
    /// The layer cannot be read, is not what it should be, or a file of it cannot be written.
    pub(super) fn next(&self) -> Result<Option<StagedEntry>, Stop> {
        let mut state = self.queue.state();
        state.demand = Demand::Now;
        self.queue.changed.notify_all();
        loop {
            if let Some(step) = state.waiting.pop_front() {
                if let Ok(staged) = &step {
                    let bytes = staged.bytes();
                    state.bytes -= bytes;
                    self.queue.backlog.remove(bytes);
                }
                self.queue.changed.notify_all();
                return step.map(Some);
            }
            if state.has_ended {
                return Ok(None);
            }
            state = self.queue.wait(state);
        }
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.demand = Demand::Never;
        state.waiting.clear();
        self.queue.backlog.remove(state.bytes + LAYER_BYTES);
        self.queue.changed.notify_all();
    }
}

/// The memory that entries of all layers take until they are applied.
#[derive(Default)]
struct Backlog {
    bytes: Mutex<usize>,
    has_room: Condvar,
}

impl Backlog {
    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: usize) {
        *self.bytes() += bytes;
    }

    fn remove(&self, bytes: usize) {
        *self.bytes() -= bytes;
        self.has_room.notify_one();
    }

    fn wait_for_room(&self) {
        let is_full = |bytes: &mut usize| *bytes >= MAX_BACKLOG_BYTES;
        let waited = self.has_room.wait_while(self.bytes(), is_full);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The entries of one layer, on their way from the worker that reads it to the applier.
struct EntryQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Result<StagedEntry, Stop>>,
    /// The memory that the waiting entries take.
    bytes: usize,
    demand: Demand,
    /// Whether the worker is done.
    has_ended: bool,
}

/// When the applier takes the entries of a layer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Demand {
    /// The layer's turn has not come yet.
    #[default]
    Later,
    /// The layer is being applied.
    Now,
    /// The applier has given up.
    Never,
}

impl EntryQueue {
    fn new(backlog: Arc<Backlog>) -> EntryQueue {
        backlog.add(LAYER_BYTES);
        EntryQueue {
            state: Mutex::default(),
            changed: Condvar::new(),
            backlog,
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, QueueState>) -> MutexGuard<'a, QueueState> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end of a queue. If it is dropped before [`EntryQueueWriter::end`], the layer counts
/// as truncated.
struct EntryQueueWriter(Arc<EntryQueue>);

impl EntryQueueWriter {
    /// Adds an entry, once there is room for it.
    fn push(&self, staged: StagedEntry) {
        let bytes = staged.bytes();
        let mut state = self.0.state();
        let is_full = |bytes_before| bytes_before > 0 && bytes_before + bytes > MAX_QUEUE_BYTES;
        while is_full(state.bytes) && state.demand != Demand::Never {
            state = self.0.wait(state);
        }
        if state.demand == Demand::Never {
            return;
        }
        state.bytes += bytes;
        self.0.backlog.add(bytes);
        state.waiting.push_back(Ok(staged));
        self.0.changed.notify_all();
    }

    /// Waits until the layer's turn has come, or the applier has given up.
    fn wait_for_turn(&self) {
        let mut state = self.0.state();
        while state.demand == Demand::Later {
            state = self.0.wait(state);
        }
    }

    fn end(&self, result: Result<(), Stop>) {
        let mut state = self.0.state();
        state.waiting.extend(result.err().map(Err));
        state.has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Drop for EntryQueueWriter {
    fn drop(&mut self) {
        if !self.0.state().has_ended {
            self.end(Err(TarError::Truncated.into()));
        }
    }
}

/// A source that fails once the applier has given up, so that nobody waits for a download in vain.
struct AbandonableSource<R> {
    source: R,
    queue: Arc<EntryQueue>,
}

impl<R: Read> Read for AbandonableSource<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.queue.state().demand == Demand::Never {
            return Err(io::Error::other("unpacking was given up"));
        }
        self.source.read(buffer)
    }
}

/// A layer to be read before its turn.
pub(super) struct PrefetchJob<'a> {
    layer: Layer<'a>,
    task: Box<dyn Task>,
    directory: io::Result<Arc<OwnedFd>>,
    style: FileStyle,
    queue: EntryQueueWriter,
}

/// Runs jobs, one after the other, until no more can come.
pub(super) fn run_jobs(jobs: &Mutex<Receiver<PrefetchJob<'_>>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(PrefetchJob {
            layer,
            task,
            directory,
            style,
            queue,
        }) = next
        else {
            return;
        };
        let result = match directory {
            Ok(directory) => prefetch(layer, task, &directory, style, &queue),
            Err(error) => {
                let name = layer.name.as_bytes();
                Err(Failure::at("create the staging directory of", name)(error).into())
            }
        };
        queue.end(result);
    }
}

/// Reads a layer, writes its files to `directory`, and its entries to `queue`.
fn prefetch(
    layer: Layer<'_>,
    task: Box<dyn Task>,
    directory: &Arc<OwnedFd>,
    style: FileStyle,
    queue: &EntryQueueWriter,
) -> Result<(), Stop> {
    let source = AbandonableSource {
        source: layer.source,
        queue: Arc::clone(&queue.0),
    };
    let (compression, source) = sniffed(source).map_err(TarError::Read)?;
    if compression.waits_for_memory() {
        // The layer whose turn it is must not wait for memory that later ones have taken.
        queue.wait_for_turn();
    }
    let layer = Layer { source, ..layer };
    std::thread::scope(|scope| {
        let pieces = pipeline::start(
            scope,
            std::iter::once((layer, task)),
            ReadAhead::beside_others(None),
        );
        let mut source = Source::new(&pieces);
        source.next_layer();
        let mut members = Members::new(&mut source);
        for number in 0.. {
            let Some(mut entry) = next_entry(&mut members)? else {
                break;
            };
            let content = StagedContent {
                directory: Arc::clone(directory),
                number,
            };
            if plan(&entry.path) == Ok(Plan::Make) {
                write(&mut entry, &content, style, &mut members)?;
            } else {
                // Only the name of a whiteout counts.
                entry.kind = EntryKind::Directory;
                entry.xattrs = Xattrs::new();
            }
            queue.push(StagedEntry { entry, content });
        }
        Ok(source.drain()?)
    })
}

/// Writes the file of an entry, with its content and metadata, if the entry is a file.
fn write(
    entry: &mut Entry,
    content: &StagedContent,
    style: FileStyle,
    members: &mut Members<'_, '_>,
) -> Result<(), Stop> {
    let EntryKind::File { stored, sparse } = &mut entry.kind else {
        return Ok(());
    };
    let sparse = sparse.take();
    *stored = sparse.as_ref().map_or(*stored, |map| map.size);
    let name = content.number.to_string();
    let directory = content.directory.as_fd();
    let file = create_file(directory, name.as_bytes(), entry.mode, &entry.path)?;
    write_content(file.as_fd(), &entry.path, sparse.as_ref(), members)?;
    style.metadata(entry).set(file.as_fd(), &entry.path)?;
    entry.xattrs = Xattrs::new();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::tar::Timestamp;
    use super::*;
    use crate::progress::{Progress, Silent, Unit};

    fn staging() -> (tempfile::TempDir, StagingArea) {
        let scratch = tempfile::tempdir().unwrap();
        let setgid = fs::Permissions::from_mode(0o2755);
        fs::set_permissions(scratch.path(), setgid).unwrap();
        let staging = StagingArea::new(&scratch.path().join("staging"), false).unwrap();
        (scratch, staging)
    }

    fn begin(staging: &StagingArea, number: usize) -> (StagedLayer, PrefetchJob<'static>) {
        let layer = Layer {
            name: "L".to_string(),
            source: Box::new(io::empty()),
            diff_id: None,
            size: None,
        };
        staging.begin(number, layer, Silent.watch("", Unit::Files))
    }

    #[test]
    fn staged_files_get_no_group_from_the_directory_above() {
        let (scratch, staging) = staging();
        begin(&staging, 7);
        let mode = |name: &str| fs::metadata(scratch.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode(""), mode("staging/7")), (0o2755, 0o700));
    }

    #[test]
    fn a_staged_file_replaces_nothing() {
        let (scratch, staging) = staging();
        let path = |name: &str| scratch.path().join(name);
        fs::write(path("staging/1"), "staged").unwrap();
        fs::write(path("taken"), "there").unwrap();
        let staged = StagedContent {
            directory: Arc::new(staging.directory),
            number: 1,
        };
        let root = rustix::fs::open(scratch.path(), OPEN_DIRECTORY, Mode::empty()).unwrap();
        let move_to = |name: &str| {
            let name = EntryPath::new(name.as_bytes()).unwrap();
            staged.move_to(root.as_fd(), &name)
        };
        let error = move_to("taken").unwrap_err().source;
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path("taken")).unwrap(), b"there");
        move_to("free").unwrap();
        assert_eq!(fs::read(path("free")).unwrap(), b"staged");
    }

    #[test]
    fn entries_of_layers_before_their_turn_take_bounded_memory() {
        let (_scratch, staging) = staging();
        let directory = rustix::fs::open("/", OPEN_DIRECTORY, Mode::empty()).unwrap();
        let directory = Arc::new(directory);
        let entry = || StagedEntry {
            entry: Entry {
                path: EntryPath::new(&[b'n'; 200]).unwrap(),
                kind: EntryKind::Directory,
                mode: 0,
                mtime: Timestamp {
                    seconds: 0,
                    nanoseconds: 0,
                },
                xattrs: Xattrs::new(),
            },
            content: StagedContent {
                directory: Arc::clone(&directory),
                number: 0,
            },
        };
        for entries_of_each in [0, 1000] {
            let (begun, waiting) = channel();
            std::thread::scope(|scope| {
                let (staging, entry) = (&staging, &entry);
                scope.spawn(move || {
                    for number in 0..100 {
                        let (staged, job) = begin(staging, number + entries_of_each);
                        (0..entries_of_each).for_each(|_| job.queue.push(entry()));
                        job.queue.end(Ok(()));
                        begun.send(staged).unwrap();
                    }
                });
                let first = waiting.recv().unwrap();
                std::thread::sleep(Duration::from_millis(100));
                let held = *staging.backlog.bytes();
                assert!(held < MAX_BACKLOG_BYTES + MAX_QUEUE_BYTES, "{held}");
                let mut count = 0;
                for layer in std::iter::once(first).chain(waiting) {
                    while layer.next().is_ok_and(|next| next.is_some()) {
                        count += 1;
                    }
                }
                assert_eq!(count, 100 * entries_of_each);
            });
            assert_eq!(*staging.backlog.bytes(), 0);
        }
    }
}
