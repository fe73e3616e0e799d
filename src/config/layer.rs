//! One source of configuration values: a file, the environment, the command line.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::host::fs::{self, FsError};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// Line `line` of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
    /// An option of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A key, its value, and where that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The key as written.
    pub(super) key: String,
    /// The value as written, without quotes of its own meaning.
    pub(super) value: String,
    /// Where.
    pub(super) origin: Origin,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that is named cannot be read.
    #[error(transparent)]
    Read(#[from] FsError),
    /// A line that is neither a section, a comment nor an assignment.
    #[error("{}:{line}: expected `key = value`, found '{text}'", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line itself.
        text: String,
    },
    /// A value of the wrong kind.
    #[error("{origin}: '{value}' is no valid value for {key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// Where.
        origin: Origin,
        /// What is expected.
        reason: String,
    },
    /// Neither HOME nor a repository directory is known.
    #[error("HOME is not set, so there is no place for the repository")]
    NoHome,
}

const FILE_MAX_BYTES: u64 = 1 << 20;

/// Reads a configuration file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or a line makes no sense.
pub(super) fn load_file(path: &Path) -> Result<Option<Vec<Assignment>>, ConfigError> {
    match fs::read_limited(path, FILE_MAX_BYTES) {
        Ok(bytes) => parse(path, &String::from_utf8_lossy(&bytes)).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the text of a configuration file: INI with a `[DEFAULT]` section, as Python's
/// configparser takes it. Other sections are passed over, keys are not case-sensitive, and an
/// indented line goes on with the value before it.
fn parse(path: &Path, text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments: Vec<Assignment> = Vec::new();
    // udocker.py refuses a file without a section; here it is taken for the default one.
    let mut in_default = true;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let content = raw.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = content.strip_prefix('[') {
            in_default = section.trim_end_matches(']').trim() == "DEFAULT";
            continue;
        }
        if !in_default {
            continue;
        }
        if raw.starts_with([' ', '\t'])
            && let Some(last) = assignments.last_mut()
        {
            last.value.push('\n');
            last.value.push_str(content);
            continue;
        }
        let Some((key, value)) = content.split_once(['=', ':']) else {
            return Err(ConfigError::Syntax {
                path: path.to_path_buf(),
                line,
                text: content.to_string(),
            });
        };
        assignments.push(Assignment {
            key: key.trim().to_ascii_lowercase(),
            value: value.trim().to_string(),
            origin: Origin::File {
                path: path.to_path_buf(),
                line,
            },
        });
    }
    Ok(assignments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(Path::new("x"), text)
            .unwrap()
            .into_iter()
            .map(|a| (a.key, a.value))
            .collect()
    }

    #[test]
    fn only_the_default_section_counts() {
        let text = "# note\n[DEFAULT]\nTopdir = /a = b\nkeystore: k\n\n[other]\nx = 1\nbroken\n";
        assert_eq!(
            pairs(text),
            [
                ("topdir".to_string(), "/a = b".to_string()),
                ("keystore".to_string(), "k".to_string())
            ]
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse(Path::new("/etc/udocker.conf"), "[DEFAULT]\nhello\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "/etc/udocker.conf:2: expected `key = value`, found 'hello'"
        );
    }
}
