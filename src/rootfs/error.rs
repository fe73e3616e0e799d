//! What can go wrong.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::entry::{EntryError, ShownPath};
use super::tar::TarError;
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
        source: TarError,
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
    /// The archive that is being written.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
    /// A tree on the host.
    #[error(transparent)]
    Tree(#[from] FsError),
}

impl RootfsError {
    /// What the system said, if anything.
    fn said(&self) -> Option<&io::Error> {
        match self {
            RootfsError::Apply { source, .. } | RootfsError::Output(source) => Some(source),
            RootfsError::Tree(error) => Some(&error.source),
            _ => None,
        }
    }

    /// Whether the system forbade it.
    pub fn is_denied(&self) -> bool {
        self.said()
            .is_some_and(|said| said.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether something is mounted where it was to be removed.
    pub fn is_mounted(&self) -> bool {
        self.said()
            .is_some_and(|said| said.kind() == io::ErrorKind::ResourceBusy)
    }

    /// Whether there was too little of something for now: of room on the disk, of memory, or of files
    /// that may be open.
    pub fn is_shortage(&self) -> bool {
        let is_short = |said: &io::Error| {
            let errno = Errno::from_io_error(said);
            let is_other = matches!(errno, Some(Errno::NOMEM | Errno::MFILE | Errno::NFILE));
            is_other || is_storage_full(said)
        };
        self.said().is_some_and(is_short)
    }

    /// The same failure with what the system said replaced by what `explain` makes of it.
    #[must_use]
    pub fn explained(mut self, explain: impl FnOnce(io::Error) -> io::Error) -> RootfsError {
        let source = match &mut self {
            RootfsError::Apply { source, .. } => source,
            RootfsError::Tree(error) => &mut error.source,
            _ => return self,
        };
        let said = std::mem::replace(source, io::ErrorKind::Other.into());
        *source = explain(said);
        self
    }

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

    /// The same, of a tree on the host; the path counts from `root`.
    pub(super) fn below(self, root: &Path) -> RootfsError {
        let path = [root.as_os_str().as_bytes(), b"/", &self.path].concat();
        RootfsError::Tree(FsError {
            action: self.action,
            path: PathBuf::from(OsString::from_vec(path)),
            source: self.source,
        })
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

/// Why a layer was given up.
pub(super) enum Stop {
    Archive(TarError),
    Entry(Vec<u8>, EntryError),
    Failure(Failure),
    Limit(u64, &'static str),
}

impl From<TarError> for Stop {
    fn from(error: TarError) -> Stop {
        Stop::Archive(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl Stop {
    pub(super) fn in_layer(self, layer: &str) -> RootfsError {
        let name = layer.to_string();
        match self {
            Stop::Archive(source) => RootfsError::Archive {
                layer: name,
                source,
            },
            Stop::Entry(path, source) => RootfsError::Entry {
                layer: name,
                path: ShownPath::from(&path[..]),
                source,
            },
            Stop::Failure(failure) => failure.in_layer(layer),
            Stop::Limit(limit, what) => RootfsError::Limit {
                layer: name,
                limit,
                what,
            },
        }
    }
}
