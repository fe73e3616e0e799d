//! What can go wrong.

use std::io;

use super::entry::{EntryError, ShownPath};
use super::tar::ArchiveError;
use crate::host::fs::{FsError, is_storage_full};

/// Why layers could not be applied, or a tree not be removed or measured.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A layer that cannot be read, or is no proper archive.
    #[error("layer '{layer}' cannot be unpacked: {source}")]
    Archive {
        /// The layer's name.
        layer: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// An entry that is refused for what it is.
    #[error("layer '{layer}' cannot be unpacked: entry '{path}' is refused: {source}")]
    Entry {
        /// The layer's name.
        layer: String,
        /// The entry's name.
        path: ShownPath,
        /// Why it is refused.
        source: EntryError,
    },
    /// A step that the system refused.
    #[error("layer '{layer}' cannot be unpacked: cannot {action} '{path}': {source}")]
    Apply {
        /// The layer's name.
        layer: String,
        /// The entry's name.
        path: ShownPath,
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// More than the limit allows.
    #[error("layer '{layer}' cannot be unpacked: the image has more than {limit} {what}")]
    Limit {
        /// The layer that went beyond.
        layer: String,
        /// The limit.
        limit: u64,
        /// What it counts.
        what: &'static str,
    },
    /// A tree on the host.
    #[error(transparent)]
    Tree(#[from] FsError),
}

impl RootfsError {
    /// Whether the cause is a full disk or an exhausted quota.
    pub fn is_storage_full(&self) -> bool {
        match self {
            RootfsError::Apply { source, .. } => is_storage_full(source),
            RootfsError::Tree(error) => error.is_storage_full(),
            _ => false,
        }
    }
}

/// A step that failed while an entry was applied; the layer's name is added later.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) path: Vec<u8>,
    pub(super) action: &'static str,
    pub(super) source: io::Error,
}

impl Failure {
    /// Returns a function for `map_err`.
    pub(super) fn at<E: Into<io::Error>>(
        action: &'static str,
        path: &[u8],
    ) -> impl FnOnce(E) -> Failure {
        move |source| Failure {
            path: path.to_vec(),
            action,
            source: source.into(),
        }
    }

    pub(super) fn in_layer(self, layer: &str) -> RootfsError {
        RootfsError::Apply {
            layer: layer.to_string(),
            path: ShownPath::from(&self.path[..]),
            action: self.action,
            source: self.source,
        }
    }
}
