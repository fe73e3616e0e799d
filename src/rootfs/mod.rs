//! Layers → directory tree.
//!
//! [`apply_layers`] unpacks an image's layers one over the other, as the OCI image specification
//! says, for a user without privilege: every file belongs to the caller, device nodes are left out,
//! and `u+rwx` on directories and `u+rw` on files is added where it is missing. Nothing in a layer
//! can reach outside the root. [`check_layer`] reads a layer as [`apply_layers`] does, and writes
//! nothing.
//!
//! [`remove_tree`] removes a tree, [`tree_size`] measures it, [`make_accessible`] changes its
//! modes, [`pack_tree`] makes an archive of it, and [`copy_tree`] a copy; the latter two take the
//! [`Attributes`] along that emulated root has given to files. [`copy_root`] copies a tree that has
//! none. None of them goes into what is mounted in a tree.
//!
//! ```text
//! pipeline (decompress, hash) → tar (members) → entry (safe or refused) → plan → apply → writers
//! ```
//! With a staging directory, several layers are read up to `entry` at once, and the content of
//! their files is written before their turn (`prefetch`).
//!
//! `entry` and `plan` decide and touch nothing. `apply` carries the plan out; it finds directories
//! with `directories`, has small files written by `writers`, and makes room with `remove`.
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
mod layers;
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
pub use layers::apply_layers;
pub use pack::pack_tree;
pub use remove::{remove_tree, require_unmounted};
pub use size::{least_copy, tree_size};
pub use tar::TarError;

use std::io::Read;
use std::path::Path;

use crate::oci::DiffId;

/// A layer to be applied.
pub struct Layer<'a> {
    /// Its name in messages, such as a short digest.
    pub name: String,
    /// Its bytes, compressed or not.
    pub source: Box<dyn Read + Send + 'a>,
    /// The digest that its uncompressed bytes must have; `None` if it is not known.
    pub diff_id: Option<DiffId>,
    /// The length of `source` in bytes, if it is known, to show progress.
    pub size: Option<u64>,
}

/// How layers are applied, and limits against layers that unpack to far more than they hold.
#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions<'a> {
    /// The most bytes in regular files, holes included; `None` for no limit but the disk.
    pub max_unpacked_bytes: Option<u64>,
    /// The most entries of all layers together. Directories that names imply count, too.
    pub max_entries: u64,
    /// Whether the system is asked to write each file to the disk as soon as it is made. That costs
    /// time, and saves more of it if the tree is cloned at once: only blocks that have their place
    /// on the disk can be shared.
    pub begin_write_back: bool,
    /// A directory that does not exist yet, on the file system of the root: files of several layers
    /// at once are written there before the turn of their layer. `None` to read each layer after
    /// the one before it.
    pub staging: Option<&'a Path>,
    /// How many layers are read at once with `staging`; `None` to choose by the number
    /// of processors.
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

/// What applying layers has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Layers applied.
    pub layers: u64,
    /// Entries in them, whiteouts included.
    pub entries: u64,
    /// Bytes in regular files, including files that later layers replace.
    pub bytes: u64,
    /// Device nodes, and hard links to them, that were left out.
    pub skipped_devices: u64,
}
