//! A reader of tar archives as images hold them: v7, ustar, GNU and PAX, with sparse files.
//!
//! The `tar` crate does not serve, since content has to reach the writers as slices of decompressed
//! chunks, without a copy, and all PAX sparse formats, global headers, negative times and numbers
//! in base 256 have to be read.
//!
//! Sources: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Interchange Format"; the GNU
//! tar manual, "Basic Tar Format" and "Storing Sparse Files".

mod header;
mod member;
mod pax;
mod source;
mod sparse;

pub(super) use member::{Member, MemberKind, Members, Timestamp};
pub(super) use source::{Chunk, Piece, Slice, Source};
pub(super) use sparse::{MAX_SEGMENTS, SparseMap};

use std::io;

use crate::oci::DiffId;

/// Why a layer cannot be read as a tar archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read or decompressed.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// Its uncompressed content has another digest than the image's configuration lists.
    #[error("its content has the digest {actual}, not {expected}")]
    WrongContent {
        /// The digest that the configuration lists.
        expected: DiffId,
        /// The digest of what was read.
        actual: DiffId,
    },
    /// It ends in the middle of an entry.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// A block that should be a header is none.
    #[error("the archive is damaged, or no tar archive: bad header checksum")]
    BadChecksum,
    /// A single block of zeros, which neither ends the archive nor begins an entry.
    #[error("the archive is damaged: data follows a lone block of zeros")]
    LoneZeroBlock,
    /// A number in a header is malformed or out of range.
    #[error("the archive is damaged: bad value for {field} in a header")]
    BadNumber {
        /// The header field or PAX key.
        field: &'static str,
    },
    /// PAX records do not have the form `LENGTH KEY=VALUE`.
    #[error("the archive is damaged: bad PAX header")]
    BadPax,
    /// The map of a sparse file contradicts itself.
    #[error("the archive is damaged: bad map of a sparse file")]
    BadSparseMap,
    /// A header extension is larger than any that is needed.
    #[error("the archive holds a header extension of {bytes} bytes, at most {limit} are read")]
    ExtensionTooLarge {
        /// Its declared size.
        bytes: u64,
        /// The largest that is read.
        limit: u64,
    },
}
