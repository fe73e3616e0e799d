//! Types for paths on the host and in the container, so that they cannot be mixed up.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path that is not absolute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not an absolute path", .0.display())]
pub struct NotAbsolute(pub PathBuf);

/// An absolute path on the host, without doubled slashes and `.`.
///
/// `..` is kept: what it means depends on symbolic links, which only the kernel resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPath(PathBuf);

impl HostPath {
    /// Makes one from an absolute path.
    ///
    /// # Errors
    /// The path is relative or empty.
    pub fn new(path: impl AsRef<Path>) -> Result<HostPath, NotAbsolute> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(NotAbsolute(path.to_path_buf()));
        }
        Ok(HostPath(path.components().collect()))
    }

    /// `/`.
    pub fn root() -> HostPath {
        HostPath(PathBuf::from("/"))
    }

    /// `/proc`.
    pub fn proc() -> HostPath {
        HostPath(PathBuf::from("/proc"))
    }

    /// Returns the host path of `guest` in a container whose root is this path.
    pub fn beneath(&self, guest: &Path) -> HostPath {
        let rest = below_root(guest);
        if rest.as_os_str().is_empty() {
            return self.clone();
        }
        HostPath(self.0.join(rest))
    }

    /// The path for system calls.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Whether a path contains a colon or a comma, which separate the parts of a bind for Apptainer and
/// for a PRoot other than the embedded one.
pub fn has_separator(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.iter().any(|byte| b":,".contains(byte))
}

/// A path at or below one that the user named, the base. A guest may replace any component below
/// the base by a symbolic link at any time, so these components are opened without following links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeneathPath {
    /// The path that the user named: a root tree, or the source of a bind.
    pub base: HostPath,
    path: HostPath,
}

impl BeneathPath {
    /// Returns the base itself.
    pub(super) fn of(base: HostPath) -> BeneathPath {
        BeneathPath {
            path: base.clone(),
            base,
        }
    }

    /// Returns the path of `guest` in a container whose root is `base`.
    pub fn beneath(base: &HostPath, guest: &Path) -> BeneathPath {
        BeneathPath {
            base: base.clone(),
            path: base.beneath(guest),
        }
    }

    /// The path relative to the base.
    pub fn below(&self) -> &Path {
        let below = self.path.0.strip_prefix(&self.base.0);
        below.unwrap_or(Path::new(""))
    }

    /// The whole path, for messages and for `stat`. To open or create the file, use the base and
    /// [`BeneathPath::below`].
    pub fn as_path(&self) -> &Path {
        self.path.as_path()
    }
}

impl fmt::Display for BeneathPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// An absolute path inside the container, without doubled slashes, `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuestPath(PathBuf);

impl GuestPath {
    /// Makes one from an absolute path; `..` removes the component before it.
    ///
    /// # Errors
    /// The path is relative or empty.
    pub fn new(path: impl AsRef<Path>) -> Result<GuestPath, NotAbsolute> {
        let path = path.as_ref();
        if !path.is_absolute() {
            return Err(NotAbsolute(path.to_path_buf()));
        }
        Ok(GuestPath::root().join(path))
    }

    /// `/`.
    pub fn root() -> GuestPath {
        GuestPath(PathBuf::from("/"))
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Resolves `path` with this path as the current directory.
    pub fn join(&self, path: impl AsRef<Path>) -> GuestPath {
        let mut joined = self.0.clone();
        for component in path.as_ref().components() {
            match component {
                Component::RootDir | Component::Prefix(_) => joined = PathBuf::from("/"),
                Component::CurDir => {}
                Component::ParentDir => {
                    joined.pop();
                }
                Component::Normal(name) => joined.push(name),
            }
        }
        GuestPath(joined)
    }

    /// The path relative to `/`.
    pub fn below_root(&self) -> &Path {
        below_root(&self.0)
    }

    /// The number of components.
    pub fn depth(&self) -> usize {
        self.0.components().count() - 1
    }

    /// The path for system calls.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

fn below_root(guest: &Path) -> &Path {
    guest.strip_prefix("/").unwrap_or(guest)
}

/// Splits `text` at the first `separator`.
pub(super) fn split_once(text: &OsStr, separator: u8) -> Option<(OsString, OsString)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|&byte| byte == separator)?;
    Some((
        OsStr::from_bytes(&bytes[..at]).to_os_string(),
        OsStr::from_bytes(&bytes[at + 1..]).to_os_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths_are_absolute_and_keep_parent_steps() {
        for (text, path) in [("/", "/"), ("//a///b/", "/a/b"), ("/a/./../b", "/a/../b")] {
            assert_eq!(HostPath::new(text).unwrap().to_string(), path, "{text}");
        }
        for text in ["", "a", "./a", "~/a"] {
            assert!(HostPath::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn guest_paths_are_absolute_and_normalised() {
        for (text, path) in [
            ("/", "/"),
            ("//a///b/", "/a/b"),
            ("/a/./../b", "/b"),
            ("/../..", "/"),
        ] {
            assert_eq!(GuestPath::new(text).unwrap().to_string(), path, "{text}");
        }
        assert!(GuestPath::new("a").is_err());
        assert_eq!(GuestPath::new("/a/b").unwrap().depth(), 2);
        assert_eq!(GuestPath::root().depth(), 0);
    }

    #[test]
    fn guest_paths_are_located_below_the_root() {
        let root = HostPath::new("/r").unwrap();
        assert_eq!(root.beneath(Path::new("/")).to_string(), "/r");
        assert_eq!(root.beneath(Path::new("/a/b")).to_string(), "/r/a/b");
    }
}
