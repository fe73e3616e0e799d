//! Errors of reading and storing logins.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::error::Category;

use crate::host::fs::FsError;

/// Why a login cannot be read or stored. No variant contains a login.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Other users can read or write the keystore.
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
    /// The keystore belongs to another user.
    #[error("the keystore '{}' belongs to user id {owner}, not to you", path.display())]
    ForeignOwner {
        /// The keystore.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// A file has the wrong content.
    #[error("'{}' is not a valid credentials file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// An entry contains no valid user name and password.
    #[error("the entry '{key}' in '{}' is damaged: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The key of the entry.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A user name contains a colon, which separates it from the password.
    #[error("a user name must not hold a colon")]
    ColonInUsername,
    /// The helper that is configured for this registry is not installed.
    #[error("the credential helper '{program}' is not in PATH")]
    HelperMissing {
        /// The program's name.
        program: String,
    },
    /// A helper cannot be run.
    #[error("cannot run the credential helper '{program}': {source}")]
    HelperStart {
        /// The program's name.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// A helper fails, or its answer is malformed.
    #[error("the credential helper '{program}' failed: {reason}")]
    HelperFailed {
        /// The program's name.
        program: String,
        /// The helper's explanation.
        reason: String,
    },
}

impl CredentialsError {
    /// Says what is wrong with a file, and where. `serde_json` quotes unexpected values, which may
    /// be passwords, so its text is not used for these.
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
