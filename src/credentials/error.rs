//! Why logins cannot be read or kept.

use std::io;
use std::path::PathBuf;

use crate::host::fs::FsError;

/// Why logins cannot be read or kept. No variant ever holds one.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Others can read or write the keystore.
    #[error(
        "the keystore '{}' can be accessed by others (mode {mode:03o}): run `chmod 600` on it, and change passwords that may have leaked",
        path.display()
    )]
    Exposed {
        /// The keystore.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The keystore is somebody else's.
    #[error("the keystore '{}' belongs to user id {owner}, not to you", path.display())]
    ForeignOwner {
        /// The keystore.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file has the wrong content.
    #[error("'{}' is not a valid credentials file: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// An entry that holds no user name and password.
    #[error("the entry '{key}' in '{}' is damaged: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A user name that cannot be told from the password.
    #[error("a user name must not hold a colon")]
    ColonInUsername,
    /// A helper that is named for this registry but not there.
    #[error("the credential helper '{program}' is not in PATH")]
    HelperMissing {
        /// Its program.
        program: String,
    },
    /// A helper that cannot be run.
    #[error("cannot run the credential helper '{program}': {source}")]
    HelperStart {
        /// Its program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A helper that fails or answers nonsense.
    #[error("the credential helper '{program}' failed: {reason}")]
    HelperFailed {
        /// Its program.
        program: String,
        /// What it said.
        reason: String,
    },
}
