//! Links and marker files of the repository.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::host::fs::{FsError, remove_file};

/// The last component of a link's target; `None` if the link has just been removed.
///
/// # Errors
/// The link cannot be read, or is none.
pub(super) fn link_target(link: &Path) -> Result<Option<OsString>, FsError> {
    match fs::read_link(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        target => {
            let target = target.map_err(FsError::at("read link", link))?;
            Ok(target.file_name().map(OsString::from))
        }
    }
}

/// Makes or replaces the relative link `name` in `directory` to `target`. Links in the repository
/// are relative, so that it can be moved as a whole.
///
/// # Errors
/// The link cannot be made, or the entry in its place cannot be removed.
pub(super) fn link(directory: &Path, name: &Path, target: &Path) -> Result<(), FsError> {
    let link = directory.join(name);
    let mut relative = relative_path(directory, target);
    // `..` does not lead back through the symbolic links in the path of the directory.
    if !directory.join(&relative).exists()
        && let (Ok(from), Ok(to)) = (directory.canonicalize(), target.canonicalize())
    {
        relative = relative_path(&from, &to);
    }
    match symlink(&relative, &link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(&link).is_ok_and(|current| current == relative) {
                return Ok(());
            }
            remove_file(&link)?;
            symlink(&relative, &link).map_err(FsError::at("link", &link))
        }
        result => result.map_err(FsError::at("link", &link)),
    }
}

/// The path that leads from the directory `from` to `to`.
fn relative_path(from: &Path, to: &Path) -> PathBuf {
    let common = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let ups = from.components().skip(common).map(|_| Path::new(".."));
    let downs = to.components().skip(common);
    ups.map(Path::to_path_buf)
        .chain(downs.map(|part| PathBuf::from(part.as_os_str())))
        .collect()
}

/// Makes or removes an empty marker file. A file that is there keeps its content, and the target of
/// a link is not created.
///
/// # Errors
/// The file cannot be made or removed.
pub(super) fn set_marker(path: &Path, present: bool) -> Result<(), FsError> {
    if !present {
        return remove_file(path);
    }
    match File::create_new(path) {
        Err(_) if path.is_file() => Ok(()),
        made => made.map(drop).map_err(FsError::at("create", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        assert_eq!(
            relative_path(Path::new("/t/repos/a/b"), Path::new("/t/layers/x")),
            Path::new("../../../layers/x")
        );
    }

    #[test]
    fn a_marker_follows_no_link_and_changes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink(at("elsewhere"), at("PROTECT")).unwrap();
        assert!(set_marker(&at("PROTECT"), true).is_err());
        assert!(!at("elsewhere").exists());
        fs::write(at("elsewhere"), "content").unwrap();
        set_marker(&at("PROTECT"), true).unwrap();
        assert_eq!(fs::read_to_string(at("elsewhere")).unwrap(), "content");
        for _ in 0..2 {
            set_marker(&at("other"), true).unwrap();
        }
        assert!(at("other").is_file());
    }
}
