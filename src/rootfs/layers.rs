//! The threads that apply layers, and how they are connected.
//!
//! ```text
//!                  ┌─ in turn ──→ pipeline ─────────┐
//! layers → sender ─┤                                ├→ Applier → writers
//!                  └─ staged ───→ prefetch workers ─┘
//! ```
//! The sender takes layers from the caller's iterator. The first layer always goes through the
//! pipeline, the others do if there is no staging directory.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use super::apply::{Applier, Turn};
use super::dir_stack::open_top;
use super::error::RootfsError;
use super::pipeline::{self, ReadAhead};
use super::prefetch::{self, PrefetchJob, StagingArea};
use super::remove::remove_tree;
use super::tar::Source;
use super::worker_pool::Queue;
use super::writers::Writers;
use super::{ApplyOptions, Layer, Summary};
use crate::host::fs::FsError;
use crate::progress::{Progress, Silent, Task};

/// Applies `layers`, base first, to `root`, an existing empty directory.
///
/// Layers are taken from the iterator before their turn, on a separate thread, so that the iterator
/// may wait for a download. Every source is read to the end of its compressed data, and checked
/// against its diff_id in the same pass. At most about 28 MiB are held in memory, 8 MiB more for
/// each layer that is read before its turn, and 8 to 16 bytes for each entry of a layer.
///
/// # Errors
/// Errors of the iterator; a layer that cannot be read, is no archive, or has another digest than
/// its diff_id; an entry that is refused; a limit that is exceeded; a system call that fails. The
/// tree then stays as it is, for the caller to remove.
pub fn apply_layers<'a, I, E>(
    root: &Path,
    layers: I,
    options: ApplyOptions<'_>,
    progress: &dyn Progress,
) -> Result<Summary, E>
where
    I: IntoIterator<Item = Result<Layer<'a>, E>>,
    I::IntoIter: Send,
    E: From<RootfsError> + Send,
{
    let directory = open_top(root).map_err(RootfsError::from)?;
    let layers = layers.into_iter();
    // Limits hold in the order of layers, which several at once do not keep.
    let staging = options
        .staging
        .filter(|_| options.max_unpacked_bytes.is_none());
    let workers = match staging {
        Some(_) => options.workers.unwrap_or_else(prefetch::default_workers),
        None => 0,
    };
    let queue = Queue::default();
    let (jobs, waiting_jobs) = sync_channel(0);
    let waiting_jobs = Mutex::new(waiting_jobs);
    let summary = std::thread::scope(|scope| {
        // The applier probes the root, so it comes before any thread that may fill the disk.
        let writers = Writers::start(scope, &queue);
        let applier = Applier::new(directory, writers, options)
            .map_err(|error| RootfsError::from(FsError::at("write to", root)(error)))?;
        let (turns, turn) = channel();
        let (in_turn, layers_in_turn) = channel();
        let pieces = pipeline::start(scope, layers_in_turn, ReadAhead::UNPACK);
        for _ in 1..workers {
            scope.spawn(|| prefetch::run_jobs(&waiting_jobs));
        }
        // The last worker begins when the layer in the pipeline has been read, so that no more
        // layers are decompressed at once than there are workers.
        let (pipeline_busy, pipeline_idle) = channel::<Infallible>();
        let waiting_jobs = &waiting_jobs;
        if workers > 0 {
            scope.spawn(move || {
                let _ = pipeline_idle.recv();
                prefetch::run_jobs(waiting_jobs);
            });
        }
        let sender = LayerSender {
            turns,
            in_turn,
            jobs,
            pipeline_busy: Some(pipeline_busy),
            staging: None,
        };
        let make_staging = move || {
            let path = staging.filter(|_| workers > 0)?;
            StagingArea::new(path, options.begin_write_back).ok()
        };
        let sending = scope.spawn(move || sender.send_all(layers, make_staging, progress));
        let applied = applier.apply_all(turn, &mut Source::new(&pieces));
        // If the layers were given up, this ends the pipeline.
        drop(pieces);
        match sending.join() {
            Ok(sent) => sent.and_then(|()| Ok(applied?)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    if let Some(path) = staging {
        remove_tree(path, &Silent)?;
    }
    Ok(summary)
}

/// Hands each layer to the thread that reads it, and announces its turn.
struct LayerSender<'a> {
    turns: Sender<Turn>,
    in_turn: Sender<(Layer<'a>, Box<dyn Task>)>,
    jobs: SyncSender<PrefetchJob<'a>>,
    /// Goes with the first layer, and is dropped when that has been read.
    pipeline_busy: Option<Sender<Infallible>>,
    staging: Option<StagingArea>,
}

impl<'a> LayerSender<'a> {
    /// Sends layers until there are no more, or no more are wanted. The staging directory is made
    /// for the second layer; without it, layers wait for their turn.
    fn send_all<E>(
        mut self,
        layers: impl Iterator<Item = Result<Layer<'a>, E>>,
        make_staging: impl Fn() -> Option<StagingArea>,
        progress: &dyn Progress,
    ) -> Result<(), E> {
        for (number, layer) in layers.enumerate() {
            let layer = layer?;
            if number == 1 {
                self.staging = make_staging();
            }
            let task = progress.begin(&format!("unpacking {}", layer.name), layer.size);
            if !self.send(number, layer, task) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a layer; returns whether more are wanted.
    fn send(&mut self, number: usize, layer: Layer<'a>, task: Box<dyn Task>) -> bool {
        match &self.staging {
            Some(staging) => {
                let (staged, job) = staging.begin(number, layer, task);
                self.turns.send(Turn::Staged(staged)).is_ok() && self.jobs.send(job).is_ok()
            }
            None => {
                let turn = Turn::FromPipeline(self.pipeline_busy.take());
                self.turns.send(turn).is_ok() && self.in_turn.send((layer, task)).is_ok()
            }
        }
    }
}
