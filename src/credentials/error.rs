//! Why logins cannot be read or kept.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::error::Category;

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
    #[error("'{}' is not a valid credentials file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        reason: String,
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

impl CredentialsError {
    /// Says where a file is wrong. What stands in the place of something else is not repeated, as
    /// `serde_json` does: it may be a password.
    pub(super) fn malformed(path: &Path, error: &serde_json::Error) -> CredentialsError {
        let reason = match error.classify() {
            Category::Data => format!(
                "a value of the wrong kind at line {} column {}",
                error.line(),
                error.column()
            ),
            _ => error.to_string(),
        };
        CredentialsError::Malformed {
            path: path.to_path_buf(),
            reason,
        }
    }
}
