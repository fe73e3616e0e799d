//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

use crate::host::fs::FsError;
use crate::oci::{Digest, ManifestError};

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source of the bytes failed, or its compression is damaged.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// The place where its content is kept while it is read.
    #[error("cannot write its '{name}' to '{}': {source}", path.display())]
    Keep {
        /// The path in the archive.
        name: String,
        /// Where it was to be kept.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No tar archive, or a damaged one.
    #[error("it is no tar archive, or a damaged one")]
    NotTar,
    /// It ends too early.
    #[error("the archive ends in the middle of '{0}'")]
    Truncated(String),
    /// A member whose path leads out of the archive.
    #[error("its member '{0}' is refused: the path leads out of the archive")]
    Escapes(String),
    /// A link that leads out of the archive, or around in a circle.
    #[error("its member '{0}' is a link that leads nowhere in the archive")]
    BadLink(String),
    /// Far more than an archive of images has.
    #[error("it has more than {0} {1}")]
    TooMuch(usize, &'static str),
    /// Neither of the known forms.
    #[error("it holds no images: there is no manifest.json, index.json or repositories in it")]
    NoImages,
    /// Something that others refer to.
    #[error("it lacks '{0}'")]
    Missing(String),
    /// A file whose name says another digest.
    #[error("its member '{path}' is damaged: the content has the digest {found}")]
    WrongDigest {
        /// The path in the archive.
        path: String,
        /// The digest of what is there.
        found: Digest,
    },
    /// A document of the archive that makes no sense.
    #[error("its '{path}' is not valid: {source}")]
    Document {
        /// The path in the archive.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A document larger than any real one.
    #[error("its '{path}' is larger than {limit} bytes")]
    TooLarge {
        /// The path in the archive.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// A manifest that is none.
    #[error("its '{path}' is not usable: {source}")]
    Manifest {
        /// The path in the archive.
        path: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// An index without an image that can run here.
    #[error("its '{path}' has no image for {wanted}")]
    NoPlatform {
        /// The path of the index.
        path: String,
        /// What was looked for.
        wanted: String,
    },
    /// Layers that name each other as parents.
    #[error("its layers form a circle at '{0}'")]
    Circle(String),
    /// The output.
    #[error("cannot write the archive: {0}")]
    Write(#[source] io::Error),
    /// A file on this host.
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
