//! Output files that appear under their name only when they are complete.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, PROC_SUPER_MAGIC, RenameFlags, renameat_with, statfs};
use rustix::io::Errno;

use super::fs::FsError;
use super::unique::unique_name;

/// The most symbolic links that are followed in a row; the kernel has the same limit.
const HOPS_MAX: usize = 40;

/// An output file being written. If it is dropped before [`NewFile::publish`], it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The file has no name yet; the kernel removes it when the process ends (`O_TMPFILE`).
    Nameless,
    /// The file has a temporary name in the same directory, on file systems without `O_TMPFILE`.
    Beside(PathBuf),
    /// The path itself is written to: it is a pipe, a device, or a file that a process has open.
    Itself,
}

impl NewFile {
    /// Begins a file. Symbolic links at `path` are followed. A pipe or a device is written to
    /// directly, and so is the open file that a path such as `/dev/stdout` stands for.
    ///
    /// # Errors
    /// The file cannot be created, or the pipe, device or open file cannot be opened.
    pub fn create(path: &Path) -> Result<NewFile, FsError> {
        let mut open = OpenOptions::new();
        let is_other = |meta: fs::Metadata| !meta.is_file() && !meta.is_dir();
        let target = match followed(path) {
            // Output to an open file is appended, as if written through that open file.
            None => Err(open.append(true)),
            Some(target) if fs::metadata(&target).is_ok_and(is_other) => Err(open.write(true)),
            Some(target) => Ok(target),
        };
        let path = match target {
            Ok(target) => target,
            Err(open) => {
                return Ok(NewFile {
                    file: open.open(path).map_err(FsError::at("open", path))?,
                    path: path.to_path_buf(),
                    place: Place::Itself,
                });
            }
        };
        let nameless = OpenOptions::new()
            .write(true)
            .mode(0o666)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(directory_of(&path));
        let (file, place) = match nameless {
            Ok(file) => (file, Place::Nameless),
            Err(_) => {
                let beside = beside(&path);
                let file = File::create_new(&beside).map_err(FsError::at("create", &path))?;
                (file, Place::Beside(beside))
            }
        };
        Ok(NewFile { file, path, place })
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether a file exists that this one would replace.
    pub fn replaces(&self) -> bool {
        !matches!(self.place, Place::Itself) && self.path.symlink_metadata().is_ok()
    }

    /// Gives the file its name. An existing file is replaced only if `replace` is set.
    ///
    /// # Errors
    /// A file of that name exists and `replace` is not set, or the kernel refuses.
    pub fn publish(mut self, replace: bool) -> Result<(), FsError> {
        let at = || FsError::at("create", &self.path);
        if matches!(self.place, Place::Nameless) {
            if !replace {
                return name_file(&self.file, &self.path).map_err(at());
            }
            let beside = beside(&self.path);
            name_file(&self.file, &beside).map_err(at())?;
            self.place = Place::Beside(beside);
        }
        if let Place::Beside(beside) = &self.place {
            if replace {
                fs::rename(beside, &self.path).map_err(at())?;
            } else {
                rename_new(beside, &self.path).map_err(at())?;
            }
            self.place = Place::Itself;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Place::Beside(beside) = &self.place {
            let _ = fs::remove_file(beside);
        }
    }
}

/// Follows symbolic links at `path`. `None` if they lead to an entry of `/proc/PID/fd`: an open
/// file, which the path that the link shows does not identify.
fn followed(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..HOPS_MAX {
        let directory = directory_of(&path);
        if statfs(directory).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC) {
            return None;
        }
        match fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => break,
        }
    }
    Some(path)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(unique_name());
    name.push(".part");
    path.with_file_name(name)
}

/// Renames a file unless the new name exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        renamed => return Ok(renamed?),
    }
    // NFS has hard links but not this flag; some file systems have neither.
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => replace_own(from, to),
        Ok(()) => {
            let _ = fs::remove_file(from);
            Ok(())
        }
    }
}

/// The same on file systems with neither: an empty file reserves the name first.
fn replace_own(from: &Path, to: &Path) -> io::Result<()> {
    File::create_new(to)?;
    fs::rename(from, to).inspect_err(|_| drop(fs::remove_file(to)))
}

/// Gives a name to a file that has none. By way of `/proc` that takes no privilege.
fn name_file(file: &File, path: &Path) -> io::Result<()> {
    let by_handle = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        by_handle,
        CWD,
        path,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn file_appears_complete_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let file = NewFile::create(&path).unwrap();
        file.file().write_all(b"one").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(names(directory.path()), 0);

        for (content, replace) in [("one", false), ("two", true)] {
            let file = NewFile::create(&path).unwrap();
            file.file().write_all(content.as_bytes()).unwrap();
            file.publish(replace).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names(directory.path()), 1);
        }
        let file = NewFile::create(&path).unwrap();
        assert!(file.publish(false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(directory.path()), 1);
    }

    #[test]
    fn symlink_targets_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink("second", at("first")).unwrap();
        symlink("target", at("second")).unwrap();
        for content in ["one", "two"] {
            let file = NewFile::create(&at("first")).unwrap();
            assert_eq!(file.replaces(), at("target").exists());
            file.file().write_all(content.as_bytes()).unwrap();
            file.publish(true).unwrap();
            assert_eq!(fs::read_to_string(at("target")).unwrap(), content);
        }
        assert_eq!(fs::read_link(at("first")).unwrap(), Path::new("second"));

        // Output to an open file is appended, and the file keeps its name.
        let open = File::options().append(true).open(at("target")).unwrap();
        let by_handle = format!("/proc/self/fd/{}", open.as_raw_fd());
        symlink(&by_handle, at("stdout")).unwrap();
        for path in [Path::new(&by_handle), &at("stdout")] {
            let file = NewFile::create(path).unwrap();
            assert!(!file.replaces());
            file.file().write_all(b"+").unwrap();
            file.publish(false).unwrap();
        }
        assert_eq!(fs::read_to_string(at("target")).unwrap(), "two++");
        assert!(at("stdout").is_symlink());
    }

    #[test]
    fn publishing_replaces_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        for rename in [rename_new, replace_own] {
            fs::write(&from, "new").unwrap();
            rename(&from, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
            fs::write(&from, "other").unwrap();
            let error = rename(&from, &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
            fs::remove_file(&to).unwrap();
        }
    }

    #[test]
    fn temporary_name_is_used_without_o_tmpfile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let begin = || {
            let beside = beside(&path);
            NewFile {
                file: File::create_new(&beside).unwrap(),
                path: path.clone(),
                place: Place::Beside(beside),
            }
        };
        drop(begin());
        assert_eq!(names(directory.path()), 0);
        begin().publish(false).unwrap();
        assert!(begin().publish(false).is_err());
        begin().publish(true).unwrap();
        assert_eq!(names(directory.path()), 1);
    }
}
