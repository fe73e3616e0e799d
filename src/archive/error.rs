//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

use crate::host::fs::FsError;
use crate::oci::{Digest, ManifestError};

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be read, or its compression is damaged.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// A file of the archive cannot be copied.
    #[error("cannot write its '{name}' to '{}': {source}", path.display())]
    Keep {
        /// The path in the archive.
        name: String,
        /// The path of the copy.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The archive is no tar archive, or a damaged one.
    #[error("it is no tar archive, or a damaged one")]
    NotTar,
    /// The archive ends within a member.
    #[error("the archive ends in the middle of '{0}'")]
    Truncated(String),
    /// A member whose path leads out of the archive.
    #[error("its member '{0}' is refused: the path leads out of the archive")]
    Escapes(String),
    /// A link that leads out of the archive, or around in a circle.
    #[error("its member '{0}' is a link that leads nowhere in the archive")]
    BadLink(String),
    /// The archive has far more of something than images need.
    #[error("it has more than {0} {1}")]
    TooMuch(usize, &'static str),
    /// The archive has none of the known forms, or no image.
    #[error("it holds no images: there is no manifest.json, index.json or repositories in it")]
    NoImages,
    /// A file that another one refers to is missing.
    #[error("it lacks '{0}'")]
    Missing(String),
    /// A file does not have the digest in its path.
    #[error("its member '{path}' is damaged: the content has the digest {found}")]
    WrongDigest {
        /// The path in the archive.
        path: String,
        /// The digest of the file.
        found: Digest,
    },
    /// A document of the archive cannot be parsed.
    #[error("its '{path}' is not valid: {source}")]
    Document {
        /// The path in the archive.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A document of the archive is too large.
    #[error("its '{path}' is larger than {limit} bytes")]
    TooLarge {
        /// The path in the archive.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// A manifest of the archive cannot be parsed.
    #[error("its '{path}' is not usable: {source}")]
    Manifest {
        /// The path in the archive.
        path: String,
        /// The cause.
        source: ManifestError,
    },
    /// An index has no image for the platform.
    #[error("its '{path}' has no image for {wanted}")]
    NoPlatform {
        /// The path of the index.
        path: String,
        /// The platform.
        wanted: String,
    },
    /// Layers are each other's parents, or indexes contain each other.
    #[error("its layers form a circle at '{0}'")]
    Circle(String),
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Write(#[source] io::Error),
    /// A file on this host cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl ArchiveError {
    /// Returns a function for `map_err`, for the document at `path`.
    pub(super) fn invalid(path: &str) -> impl Fn(serde_json::Error) -> ArchiveError + use<'_> {
        move |source| ArchiveError::Document {
            path: path.escape_debug().to_string(),
            source,
        }
    }
}
