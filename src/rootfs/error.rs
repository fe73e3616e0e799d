//! Errors of work on trees.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::entry::{EntryError, ShownPath};
use super::tar::TarError;
use crate::host::fs::{FsError, is_storage_full};

/// Why layers could not be applied, or work on a tree failed.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A layer cannot be read, or is no proper archive.
    #[error("layer '{layer}' cannot be unpacked: {source}")]
    Archive {
        /// The layer's name.
        layer: String,
        /// What is wrong with it.
        source: TarError,
    },
    /// An entry is refused.
    #[error("layer '{layer}' cannot be unpacked: entry '{path}' is refused: {source}")]
    Entry {
        /// The layer's name.
        layer: String,
        /// The entry's name.
        path: ShownPath,
        /// Why it is refused.
        source: EntryError,
    },
    /// A system call failed.
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
    /// A limit is exceeded.
    #[error("layer '{layer}' cannot be unpacked: the image has more than {limit} {what}")]
    Limit {
        /// The name of the layer that exceeds it.
        layer: String,
        /// The limit.
        limit: u64,
        /// What it limits.
        what: &'static str,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
    /// An operation on a tree failed.
    #[error(transparent)]
    Tree(#[from] FsError),
}

impl RootfsError {
    /// The error of a system call, if there was one.
    fn io_error(&self) -> Option<&io::Error> {
        match self {
            RootfsError::Apply { source, .. } | RootfsError::Output(source) => Some(source),
            RootfsError::Tree(error) => Some(&error.source),
            _ => None,
        }
    }

    /// Whether permission was denied.
    pub fn is_denied(&self) -> bool {
        self.io_error()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether something is mounted where it was to be removed.
    pub fn is_mounted(&self) -> bool {
        self.io_error()
            // The system's own EBUSY has other causes too, such as an open file on NFS.
            .is_some_and(|error| {
                error.kind() == io::ErrorKind::ResourceBusy && error.raw_os_error().is_none()
            })
    }

    /// Whether something has run out: space on the disk, memory, or file descriptors.
    pub fn is_shortage(&self) -> bool {
        let is_short = |error: &io::Error| {
            let errno = Errno::from_io_error(error);
            let is_other = matches!(errno, Some(Errno::NOMEM | Errno::MFILE | Errno::NFILE));
            is_other || is_storage_full(error)
        };
        self.io_error().is_some_and(is_short)
    }

    /// Replaces the error of the system call by what `explain` makes of it.
    #[must_use]
    pub fn explained(mut self, explain: impl FnOnce(io::Error) -> io::Error) -> RootfsError {
        let source = match &mut self {
            RootfsError::Apply { source, .. } => source,
            RootfsError::Tree(error) => &mut error.source,
            _ => return self,
        };
        let original = std::mem::replace(source, io::ErrorKind::Other.into());
        *source = explain(original);
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

/// A step that failed; the layer or the tree is added later.
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

    /// Makes an error of it, for the tree at `root`, to which the path is relative.
    pub(super) fn below(self, root: &Path) -> RootfsError {
        let path = [root.as_os_str().as_bytes(), b"/", &self.path].concat();
        RootfsError::Tree(FsError {
            action: self.action,
            path: PathBuf::from(OsString::from_vec(path)),
            source: self.source,
        })
    }

    /// Makes an error of it, for an entry of `layer`.
    pub(super) fn in_layer(self, layer: &str) -> RootfsError {
        RootfsError::Apply {
            layer: layer.to_string(),
            path: ShownPath::from(&self.path[..]),
            action: self.action,
            source: self.source,
        }
    }
}

/// Why a layer cannot be applied; the layer's name is added later.
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
