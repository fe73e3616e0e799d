//! Layers worked on ahead of their turn.
//!
//! What an entry changes depends on the layers below it, but what a file holds does not. So while
//! one layer is being applied, the next ones are decompressed, and the content of their files is
//! written to a directory beside the tree, under numbers. When a layer's turn comes, its entries are
//! applied in their order, and each file is moved to its place.

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
use crate::stream::{Compression, sniffed};

/// Layers worked on at once.
const MAX_WORKERS: usize = 4;

/// What the entries of a layer may take in memory before its turn.
const MAX_LOG_BYTES: usize = 1 << 20;

/// What those of all layers may take before one more is begun.
const MAX_BACKLOG_BYTES: usize = 4 << 20;

/// What a layer counts beside its entries: its directory is held open.
const LAYER_BYTES: usize = 64 << 10;

/// How many layers this machine can work on at once, ahead of the one that is being applied.
pub(super) fn workers() -> usize {
    match available_parallelism().map_or(1, usize::from) {
        // Somebody has to do all of the work, in whatever order.
        1 => 0,
        processors => processors.min(MAX_WORKERS),
    }
}

/// Where the content of files waits for its place.
pub(super) struct Stage {
    directory: OwnedFd,
    style: FileStyle,
    backlog: Arc<Backlog>,
}

impl Stage {
    /// Makes it at `path`, which does not exist yet.
    pub(super) fn new(path: &Path, begin_write_back: bool) -> io::Result<Stage> {
        fs::create_dir(path)?;
        let directory = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())?;
        Ok(Stage {
            style: FileStyle::of(&directory, begin_write_back)?,
            directory,
            backlog: Arc::default(),
        })
    }

    /// Prepares to work on the layer of this number, once there is room for it: what comes of it,
    /// and what [`work`] has to do.
    pub(super) fn begin<'a>(
        &self,
        number: usize,
        layer: Layer<'a>,
        task: Box<dyn Task>,
    ) -> (StagedLayer, Job<'a>) {
        self.backlog.wait_for_room();
        let directory = self.make_directory(&number.to_string());
        let log = Arc::new(EntryQueue::new(Arc::clone(&self.backlog)));
        let staged = StagedLayer {
            name: layer.name.clone(),
            log: Arc::clone(&log),
        };
        let job = Job {
            layer,
            task,
            directory: directory.map(Arc::new).map_err(io::Error::from),
            style: self.style,
            log: EntryQueueWriter(log),
        };
        (staged, job)
    }

    fn make_directory(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        rustix::fs::mkdirat(&self.directory, name, Mode::RWXU)?;
        let made = rustix::fs::openat(&self.directory, name, OPEN_DIRECTORY, Mode::empty())?;
        // It may have got a group for all that is made in it.
        rustix::fs::fchmod(&made, Mode::RWXU)?;
        Ok(made)
    }
}

/// An entry of a layer.
pub(super) struct StagedEntry {
    pub(super) entry: Entry,
    /// Where its content is, if it is a file that is to be made.
    pub(super) content: StagedContent,
}

/// The directory, and the name in it.
pub(super) struct StagedContent {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) number: u64,
}

impl StagedContent {
    /// Moves it to where nothing is in the way.
    pub(super) fn move_to(
        &self,
        directory: BorrowedFd<'_>,
        path: &EntryPath,
    ) -> Result<(), Failure> {
        let number = self.number.to_string();
        let (_, name) = path.split();
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.directory, &number, directory, name, flags) {
            // Not every file system can tell.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&self.directory, &number, directory, name)
            }
            moved => moved,
        }
        .map_err(Failure::at("create", path.as_bytes()))
    }
}

impl StagedEntry {
    /// What it takes in memory.
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

/// A layer that somebody works on. Dropping it ends that.
pub(super) struct StagedLayer {
    /// What messages call it.
    pub(super) name: String,
    log: Arc<EntryQueue>,
}

impl StagedLayer {
    /// The next entry, or why there is none; nothing at the end of a layer that is what it has to
    /// be.
    pub(super) fn next(&self) -> Result<Option<StagedEntry>, Stop> {
        let mut state = self.log.state();
        state.is_turn = true;
        self.log.changed.notify_all();
        loop {
            if let Some(step) = state.waiting.pop_front() {
                if let Ok(staged) = &step {
                    let bytes = staged.bytes();
                    state.bytes -= bytes;
                    self.log.backlog.remove(bytes);
                }
                self.log.changed.notify_all();
                return step.map(Some);
            }
            if state.has_ended {
                return Ok(None);
            }
            state = self.log.wait(state);
        }
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        let mut state = self.log.state();
        state.is_abandoned = true;
        state.waiting.clear();
        self.log.backlog.remove(state.bytes + LAYER_BYTES);
        self.log.changed.notify_all();
    }
}

/// What has been done of layers, and not been taken over yet.
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

/// Entries on their way from the one who reads a layer to the one who applies it.
struct EntryQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Result<StagedEntry, Stop>>,
    /// What those take in memory.
    bytes: usize,
    is_turn: bool,
    is_abandoned: bool,
    has_ended: bool,
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

/// The side that reads. A layer that it leaves without an end is a truncated one.
struct EntryQueueWriter(Arc<EntryQueue>);

impl EntryQueueWriter {
    /// Hands an entry over, as soon as there is room for it.
    fn push(&self, staged: StagedEntry) {
        let bytes = staged.bytes();
        let mut state = self.0.state();
        while state.bytes > 0 && state.bytes + bytes > MAX_LOG_BYTES && !state.is_abandoned {
            state = self.0.wait(state);
        }
        if state.is_abandoned {
            return;
        }
        state.bytes += bytes;
        self.0.backlog.add(bytes);
        state.waiting.push_back(Ok(staged));
        self.0.changed.notify_all();
    }

    /// Waits until the layer's turn has come, or nobody wants it any more.
    fn wait_for_turn(&self) {
        let mut state = self.0.state();
        while !state.is_turn && !state.is_abandoned {
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

/// Bytes that end when nobody wants them any more.
struct Wanted<R> {
    source: R,
    log: Arc<EntryQueue>,
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.log.state().is_abandoned {
            return Err(io::Error::other("nobody wants it any more"));
        }
        self.source.read(buffer)
    }
}

/// A layer to be worked on.
pub(super) struct Job<'a> {
    layer: Layer<'a>,
    task: Box<dyn Task>,
    directory: io::Result<Arc<OwnedFd>>,
    style: FileStyle,
    log: EntryQueueWriter,
}

/// Works on one layer after the other.
pub(super) fn work(jobs: &Mutex<Receiver<Job<'_>>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            layer,
            task,
            directory,
            style,
            log,
        }) = next
        else {
            return;
        };
        let result = match directory {
            Ok(directory) => stage(layer, task, &directory, style, &log),
            Err(error) => {
                let name = layer.name.as_bytes();
                Err(Failure::at("create the staging directory of", name)(error).into())
            }
        };
        log.end(result);
    }
}

fn stage(
    layer: Layer<'_>,
    task: Box<dyn Task>,
    directory: &Arc<OwnedFd>,
    style: FileStyle,
    log: &EntryQueueWriter,
) -> Result<(), Stop> {
    let source = Wanted {
        source: layer.source,
        log: Arc::clone(&log.0),
    };
    let (compression, source) = sniffed(source).map_err(TarError::Read)?;
    if compression == Compression::Zstd {
        // Its decoder may take half of the memory that a command may take at all.
        log.wait_for_turn();
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
                // Nothing but its name counts.
                entry.kind = EntryKind::Directory;
                entry.xattrs = Xattrs::new();
            }
            log.push(StagedEntry { entry, content });
        }
        Ok(source.drain()?)
    })
}

/// Writes the content of a file, with all that belongs to it.
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

    fn stage() -> (tempfile::TempDir, Stage) {
        let scratch = tempfile::tempdir().unwrap();
        let setgid = fs::Permissions::from_mode(0o2755);
        fs::set_permissions(scratch.path(), setgid).unwrap();
        let stage = Stage::new(&scratch.path().join("staging"), false).unwrap();
        (scratch, stage)
    }

    fn begin(stage: &Stage, number: usize) -> (StagedLayer, Job<'static>) {
        let layer = Layer {
            name: "L".to_string(),
            source: Box::new(io::empty()),
            diff_id: None,
            size: None,
        };
        stage.begin(number, layer, Silent.watch("", Unit::Files))
    }

    #[test]
    fn files_that_wait_get_no_group_from_the_directory_above() {
        let (scratch, stage) = stage();
        begin(&stage, 7);
        let mode = |name: &str| fs::metadata(scratch.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode(""), mode("staging/7")), (0o2755, 0o700));
    }

    #[test]
    fn nothing_is_replaced_by_what_takes_its_place() {
        let (scratch, stage) = stage();
        let path = |name: &str| scratch.path().join(name);
        fs::write(path("staging/1"), "staged").unwrap();
        fs::write(path("taken"), "there").unwrap();
        let staged = StagedContent {
            directory: Arc::new(stage.directory),
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

    /// However many layers are done while the first one takes its time.
    #[test]
    fn what_layers_hold_before_their_turn_is_bounded() {
        let (_scratch, stage) = stage();
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
                let (stage, entry) = (&stage, &entry);
                scope.spawn(move || {
                    for number in 0..100 {
                        let (staged, job) = begin(stage, number + entries_of_each);
                        (0..entries_of_each).for_each(|_| job.log.push(entry()));
                        job.log.end(Ok(()));
                        begun.send(staged).unwrap();
                    }
                });
                let first = waiting.recv().unwrap();
                std::thread::sleep(Duration::from_millis(100));
                let held = *stage.backlog.bytes();
                assert!(held < MAX_BACKLOG_BYTES + MAX_LOG_BYTES, "{held}");
                let mut count = 0;
                for layer in std::iter::once(first).chain(waiting) {
                    while layer.next().is_ok_and(|next| next.is_some()) {
                        count += 1;
                    }
                }
                assert_eq!(count, 100 * entries_of_each);
            });
            assert_eq!(*stage.backlog.bytes(), 0);
        }
    }
}
