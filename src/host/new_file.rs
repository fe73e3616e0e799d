//! Output files that appear under their name once they are whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

use super::fs::FsError;

/// An output file being written. Dropped before [`NewFile::publish`], nothing is left of it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// It has no name yet, and goes with the process.
    Nameless,
    /// It has a name beside its own, on file systems that know no files without one.
    Beside(PathBuf),
    /// What is written to is there already: a pipe or a device.
    Itself,
}

impl NewFile {
    /// Begins a file. A pipe or a device at `path` is written to as it is.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<NewFile, FsError> {
        let new = |file, place| NewFile {
            file,
            path: path.to_path_buf(),
            place,
        };
        if is_stream(path) {
            let file = OpenOptions::new().write(true).open(path);
            return Ok(new(file.map_err(FsError::at("open", path))?, Place::Itself));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let nameless = OpenOptions::new()
            .write(true)
            .mode(0o666)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .open(directory);
        if let Ok(file) = nameless {
            return Ok(new(file, Place::Nameless));
        }
        let beside = beside(path);
        let file = File::create_new(&beside).map_err(FsError::at("create", path))?;
        Ok(new(file, Place::Beside(beside)))
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. One that is there stays, unless `replace` is set.
    ///
    /// # Errors
    /// There is one, or the system refuses.
    pub fn publish(mut self, replace: bool) -> Result<(), FsError> {
        let at = || FsError::at("create", &self.path);
        match &self.place {
            Place::Itself => return Ok(()),
            Place::Beside(_) => {}
            Place::Nameless if !replace => return name_file(&self.file, &self.path).map_err(at()),
            Place::Nameless => {
                let beside = beside(&self.path);
                name_file(&self.file, &beside).map_err(at())?;
                self.place = Place::Beside(beside);
            }
        }
        if let Place::Beside(beside) = &self.place {
            if replace {
                fs::rename(beside, &self.path).map_err(at())?;
                self.place = Place::Itself;
            } else {
                // Unlike a rename, a link replaces nothing. The name beside goes on dropping.
                fs::hard_link(beside, &self.path).map_err(at())?;
            }
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

fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_fifo() || kind.is_char_device() || kind.is_socket()
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(uuid::Uuid::new_v4().to_string());
    name.push(".part");
    path.with_file_name(name)
}

/// Names a file that has no name. By way of /proc no privilege is needed.
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

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
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
    fn where_files_need_names_one_beside_serves() {
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
