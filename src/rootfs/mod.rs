//! Layers → directory tree.
//!
//! [`apply_layers`] unpacks an image's layers one over the other, as the OCI image specification
//! says, for a user without privilege: every file is the caller's, device nodes are left out, and
//! `u+rwx` on directories and `u+rw` on files is added where it is missing. Nothing that a layer
//! holds can reach outside the root. [`remove_tree`] removes such a tree, [`tree_size`] measures
//! it, [`make_accessible`] mends its modes, [`pack_tree`] makes an archive of it, and [`copy_tree`]
//! a copy, both with the [`Attributes`] that emulated root has given; [`copy_root`] copies one that
//! has none. [`check_layer`] reads a layer as [`apply_layers`] would, and writes nothing.
//!
//! ```text
//! pipeline (decompress, hash) → tar (members) → entry (safe or refused) → plan → apply → writers
//! ```
//! Where it is allowed, all up to `entry` is done for several layers at once, and the content of
//! their files is written before their turn (`ahead`).
//!
//! `entry` and `plan` decide and touch nothing. `apply` acts, with `directories` to find where,
//! `writers` to write small files beside it, and `remove` to make room.
//!
//! Source: OCI image-spec v1.1, "Image Layer Filesystem Changeset".

mod access;
mod apply;
mod attributes;
mod check;
mod copy;
mod data_runs;
mod dir_stack;
mod directories;
mod entry;
mod error;
mod fingerprint;
mod hard_links;
mod pack;
mod pipeline;
mod plan;
mod prefetch;
mod remove;
mod size;
mod tar;
mod walk;
mod walk_lossy;
mod worker_pool;
mod writers;
mod xattrs;

pub use access::{has_foreign_files, make_accessible};
pub use attributes::Attributes;
pub use check::{Checked, check_layer};
pub use copy::{copy_root, copy_tree, copy_unmodified};
pub use entry::{EntryError, ShownPath};
pub use error::RootfsError;
pub use fingerprint::TreeFingerprint;
pub use pack::pack_tree;
pub use remove::{remove_tree, require_unmounted};
pub use size::{least_copy, tree_size};
pub use tar::TarError;

use std::convert::Infallible;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::host::fs::FsError;
use crate::oci::DiffId;
use crate::progress::{Progress, Silent, Unit};
use apply::{Applier, Turn};
use pipeline::ReadAhead;
use prefetch::Stage;
use tar::Source;
use worker_pool::Queue;
use writers::Writers;

/// A layer to be applied.
pub struct Layer<'a> {
    /// What messages call it, such as a short digest.
    pub name: String,
    /// Its bytes, compressed or not.
    pub source: Box<dyn Read + Send + 'a>,
    /// The digest that its uncompressed bytes must have; not checked if there is none.
    pub diff_id: Option<DiffId>,
    /// How many bytes `source` has, where that is known, to show progress.
    pub size: Option<u64>,
}

/// How layers are applied; with limits against those that unpack to more than anybody has room for.
#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions<'a> {
    /// Bytes in regular files, holes included. None for as much as the disk has room for.
    pub max_unpacked_bytes: Option<u64>,
    /// Entries of all layers.
    pub max_entries: u64,
    /// Whether each file is on its way to the disk as soon as it is made. That costs time, and
    /// saves more of it where the tree is to be cloned at once: blocks can be shared only when
    /// they have their place.
    pub begin_write_back: bool,
    /// A directory on the same file system that does not exist yet: there layers are worked on
    /// ahead of their turn, beside each other. None where each waits for the one before.
    pub staging: Option<&'a Path>,
    /// How many layers are worked on at once then. None for what this machine has processors for.
    pub workers: Option<usize>,
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        ApplyOptions {
            max_unpacked_bytes: None,
            max_entries: 10_000_000,
            begin_write_back: false,
            staging: None,
            workers: None,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Layers applied.
    pub layers: u64,
    /// Entries in them, whiteouts included.
    pub entries: u64,
    /// Bytes in regular files, those included that later layers replace.
    pub bytes: u64,
    /// Device nodes, and links to them, that were left out.
    pub skipped_devices: u64,
}

/// Applies `layers`, base first, to `root`, an existing empty directory.
///
/// Layers are taken from the iterator ahead of their turn, on a thread of its own, so that it may
/// wait for a download. Reads every source to the end of what its compression format has; checks
/// diff_ids in the same pass. At most about 28 MiB are held in memory, and 8 for each layer that is
/// worked on ahead of its turn, whatever the layers hold; and 8 to 16 bytes for each entry of a
/// layer.
///
/// # Errors
/// Those of the iterator; a layer that cannot be read, is no archive, or has another content
/// than its diff_id says; an entry that is refused; a limit; a system call that fails. The tree
/// is then left as it is, for the caller to remove.
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
    let directory = dir_stack::open_top(root).map_err(RootfsError::from)?;
    let layers = layers.into_iter();
    let failed = Mutex::new(None);
    let queue = Queue::default();
    let (jobs, waiting) = sync_channel(0);
    let waiting = Mutex::new(waiting);
    // A limit is kept in the order of layers.
    let staging = options
        .staging
        .filter(|_| options.max_unpacked_bytes.is_none());
    let workers = staging.map_or(0, |_| options.workers.unwrap_or_else(prefetch::workers));
    let result = std::thread::scope(|scope| {
        // Before anybody else takes room.
        let writers = Writers::start(scope, &queue);
        let applier = Applier::new(directory, writers, options)
            .map_err(|error| RootfsError::from(FsError::at("write to", root)(error)))?;
        let (arriving, feeding) = channel();
        let (turns, turn) = channel();
        let pieces = pipeline::start(scope, feeding, ReadAhead::UNPACK);
        for _ in 1..workers {
            scope.spawn(|| prefetch::work(&waiting));
        }
        // As many layers are decompressed as there are processors, the one that arrives included.
        let (arrival, arrived) = channel::<Infallible>();
        let (failed, jobs_of_all) = (&failed, &waiting);
        if workers > 0 {
            scope.spawn(move || {
                let _ = arrived.recv();
                prefetch::work(jobs_of_all);
            });
        }
        scope.spawn(move || {
            let mut stage = None;
            let mut arrival = Some(arrival);
            for (number, layer) in layers.enumerate() {
                let layer = match layer {
                    Ok(layer) => layer,
                    Err(error) => {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                };
                if let Some(path) = staging.filter(|_| number == 1 && workers > 0) {
                    // Where it cannot be made, layers wait for their turn.
                    stage = Stage::new(path, options.begin_write_back).ok();
                }
                let task = progress.begin(&format!("unpacking {}", layer.name), layer.size);
                let is_wanted = if let Some(stage) = &stage {
                    let (staged, job) = stage.begin(number, layer, task);
                    turns.send(Turn::Staged(staged)).is_ok() && jobs.send(job).is_ok()
                } else {
                    let turn = Turn::Arriving(arrival.take());
                    turns.send(turn).is_ok() && arriving.send((layer, task)).is_ok()
                };
                if !is_wanted {
                    return;
                }
            }
        });
        applier.layers(turn, &mut Source::new(&pieces))
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let summary = result?;
    if let Some(path) = staging {
        remove_tree(path, &*Silent.watch("", Unit::Files))?;
    }
    Ok(summary)
}
