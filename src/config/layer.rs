//! The sources of configuration values: files, the environment, the command line.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::host::fs::{self, FsError};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line's number, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
    /// A command-line option.
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

/// A key, its value, and where the value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The key as written.
    pub(super) key: String,
    /// The value; before the first section, without the quotes of a shell.
    pub(super) value: String,
    /// Where the value came from.
    pub(super) origin: Origin,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FsError),
    /// A line is neither a section, a comment nor an assignment.
    #[error("{}:{line}: expected `key = value`, found '{text}'", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line's number, counted from 1.
        line: usize,
        /// The text of the line.
        text: String,
    },
    /// A value is not valid.
    #[error("{origin}: '{value}' is not a valid value for {key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, without a login.
        value: String,
        /// Where the value came from.
        origin: Origin,
        /// What is expected.
        reason: String,
    },
    /// Neither HOME nor a repository directory is known.
    #[error("HOME is not set, so there is no place for the repository")]
    NoHome,
}

const FILE_MAX_BYTES: u64 = 1 << 20;

/// The content of a configuration file.
#[derive(Debug, Default)]
pub(super) struct FileContent {
    /// The assignments, in the order of the file.
    pub(super) assignments: Vec<Assignment>,
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
}

/// Reads a configuration file; `None` if it does not exist, or is a device: `/dev/null` in its place
/// masks a file.
///
/// # Errors
/// The file cannot be read or is a pipe, socket or directory, or a line has a syntax error.
pub(super) fn load_file(path: &Path) -> Result<Option<FileContent>, ConfigError> {
    if path
        .metadata()
        .is_ok_and(|meta| meta.file_type().is_char_device())
    {
        return Ok(None);
    }
    match fs::read_limited(path, FILE_MAX_BYTES) {
        Ok(bytes) => parse(path, &String::from_utf8_lossy(&bytes)).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a configuration file that the user names, which may be a pipe.
///
/// # Errors
/// The file is missing or cannot be read, or a line has a syntax error.
pub(super) fn load_named_file(path: &Path) -> Result<FileContent, ConfigError> {
    let bytes = fs::read_named(path, FILE_MAX_BYTES)?;
    parse(path, &String::from_utf8_lossy(&bytes))
}

/// The section of a file that a line belongs to.
#[derive(PartialEq, Eq)]
enum Section {
    /// The lines before the first section. udocker.py refuses them; here they count, and values may
    /// be quoted as in a shell.
    None,
    /// `[DEFAULT]`
    Default,
    /// Any other section; it is ignored.
    Other,
}

/// Parses a configuration file: INI with a `[DEFAULT]` section, as Python's configparser does. Keys
/// are not case-sensitive and may be indented. A line that is indented more than the preceding key
/// continues its value, whatever the line contains.
fn parse(path: &Path, text: &str) -> Result<FileContent, ConfigError> {
    let mut content = FileContent::default();
    let mut section = Section::None;
    // The indentation of the last key.
    let mut key_indent = None;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let trimmed = raw.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let indent = raw.chars().take_while(|c| c.is_whitespace()).count();
        if key_indent.is_some_and(|key_indent| indent > key_indent) {
            if section != Section::Other
                && let Some(last) = content.assignments.last_mut()
            {
                last.value.push('\n');
                last.value.push_str(trimmed);
            }
            continue;
        }
        key_indent = None;
        if let Some(name) = section_name(trimmed) {
            section = match name {
                "DEFAULT" => Section::Default,
                _ => Section::Other,
            };
            if section == Section::Other {
                content.warnings.push(format!(
                    "{}:{line}: the section '[{name}]' is ignored; only [DEFAULT] counts",
                    path.display()
                ));
            }
            continue;
        }
        let pair = trimmed.split_once(['=', ':']);
        key_indent = pair.map(|_| indent);
        if section == Section::Other {
            continue;
        }
        let Some((key, value)) = pair else {
            return Err(ConfigError::Syntax {
                path: path.to_path_buf(),
                line,
                text: trimmed.to_string(),
            });
        };
        let value = match section {
            Section::None => unquoted(value.trim()),
            _ => value.trim(),
        };
        content.assignments.push(Assignment {
            key: key.trim().to_ascii_lowercase(),
            value: value.to_string(),
            origin: Origin::File {
                path: path.to_path_buf(),
                line,
            },
        });
    }
    if section != Section::None {
        interpolate(&mut content.assignments);
    }
    Ok(content)
}

/// Returns the name in `[NAME]`; text after the bracket is ignored.
fn section_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    Some(name.trim()).filter(|name| !name.is_empty())
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Replaces `%(key)s` by the value of `key`, and `%%` by `%`.
///
/// Unlike in Python, a single `%` is allowed, as in the password of a proxy, and inserted values
/// are not expanded again.
fn interpolate(assignments: &mut [Assignment]) {
    let raw = assignments.to_vec();
    let find = |key: &str| {
        let key = key.to_ascii_lowercase();
        raw.iter().rev().find(|other| other.key == key)
    };
    for assignment in assignments {
        let mut value = String::new();
        let mut rest = assignment.value.as_str();
        while let Some((before, behind)) = rest.split_once('%') {
            value.push_str(before);
            let named = behind.strip_prefix('(').and_then(|b| b.split_once(")s"));
            let named = named.and_then(|(key, behind)| Some((find(key)?, behind)));
            rest = match (named, behind.strip_prefix('%')) {
                (Some((other, behind)), _) => {
                    value.push_str(&other.value);
                    behind
                }
                (None, doubled) => {
                    value.push('%');
                    doubled.unwrap_or(behind)
                }
            };
        }
        value.push_str(rest);
        assignment.value = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> FileContent {
        parse(Path::new("x"), text).unwrap()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let assignments = content(text).assignments.into_iter();
        assignments.map(|a| (a.key, a.value)).collect()
    }

    #[test]
    fn files_are_parsed_as_configparser_does() {
        for (text, expected) in [
            (
                "# note\n[DEFAULT]\nTopdir = /a = b\nkeystore: k\n\n[other]\nx = 1\nbroken\n",
                &[("topdir", "/a = b"), ("keystore", "k")][..],
            ),
            ("[DEFAULT]\n  a = 1\n  b = 2\n", &[("a", "1"), ("b", "2")]),
            (
                "  [DEFAULT]\n  a = 1\n    more = 2\n  c = 3\n",
                &[("a", "1\nmore = 2"), ("c", "3")],
            ),
            (
                "[DEFAULT]\na = [1,\n\n  # note\n  [2]]\nb = 2\n",
                &[("a", "[1,\n[2]]"), ("b", "2")],
            ),
            ("[DEFAULT] # [mine]\na = 1 ; x\n", &[("a", "1 ; x")]),
            (
                "[other]\nx = 1\n  [DEFAULT]\ny = 2\n[DEFAULT]\n  a = 1\n",
                &[("a", "1")],
            ),
            (
                "[DEFAULT]\na = 1\n[DEFAULT]\n  b = 2\n",
                &[("a", "1"), ("b", "2")],
            ),
            (
                "[DEFAULT]\na = \"1\"\nb = %(A)s/%%x %(none)s 50% %4\n",
                &[("a", "\"1\""), ("b", "\"1\"/%x %(none)s 50% %4")],
            ),
            (
                "a = \"1 2\"\nb = '%%'\nc = \"\nd = 'x\"\n",
                &[("a", "1 2"), ("b", "%%"), ("c", "\""), ("d", "'x\"")],
            ),
        ] {
            let found = pairs(text);
            let found: Vec<(&str, &str)> = found
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_ignored_section_is_warned_of() {
        assert_eq!(
            content("[DEFAULT]\na = 1\n[default]\nb = 2\n").warnings,
            ["x:3: the section '[default]' is ignored; only [DEFAULT] counts"]
        );
    }

    #[test]
    fn malformed_line_is_named() {
        for line in ["hello", "[DEFAULT", "[]"] {
            let text = format!("[DEFAULT]\n{line}\n");
            let error = parse(Path::new("/etc/udocker.conf"), &text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("/etc/udocker.conf:2: expected `key = value`, found '{line}'")
            );
        }
    }
}
