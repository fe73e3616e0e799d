//! File operations whose errors name the action and the path.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} '{}': {source}", path.display())]
pub struct FsError {
    /// The action, as a verb.
    pub action: &'static str,
    /// The path it was tried with.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl FsError {
    /// Returns a function for `map_err`.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FsError + use<> {
        let path = path.to_path_buf();
        move |source| FsError {
            action,
            path,
            source,
        }
    }

    /// Whether the cause is that the file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the cause is that a rename would cross file systems.
    pub fn crosses_devices(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }

    /// Whether the cause is a full disk or an exhausted quota.
    pub fn is_storage_full(&self) -> bool {
        is_storage_full(&self.source)
    }
}

/// Removes the path that the crate `tempfile` appends to the message of an error, for messages that
/// name the path themselves.
pub fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause.to_string()),
        None => error,
    }
}

/// Whether an operation failed because the disk is full or a quota is exhausted.
pub fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// For [`begin_write_back`]: all bytes up to the end of the file.
pub const TO_THE_END: u64 = 0;

/// Asks the kernel to begin writing a part of a file to the disk, without waiting for it, so that a
/// later sync has little left to do. Does nothing where the kernel cannot do that.
pub fn begin_write_back(file: BorrowedFd<'_>, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else {
        return;
    };
    #[allow(unsafe_code, reason = "no crate in use has this call")]
    // SAFETY: the descriptor is open for as long as `file` is borrowed; the rest are numbers.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Opens a regular file to read it. A pipe or a device could block the reader forever, and other
/// users may be able to write to a repository.
///
/// # Errors
/// The file cannot be opened, or is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    ensure_regular(file)
}

fn ensure_regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, is larger, or is not a regular file.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let file = open_regular(path).map_err(FsError::at("open", path))?;
    read_open(file, path, limit)
}

/// Reads a whole file of at most `limit` bytes. For a path that the user gave, which may be a pipe.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let file = File::open(path).map_err(FsError::at("open", path))?;
    read_open(file, path, limit)
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes)
        .map_err(FsError::at("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(FsError {
            action: "read",
            path: path.to_path_buf(),
            source: io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {limit} bytes"),
            ),
        });
    }
    Ok(bytes)
}

/// Reads a text file that may contain invalid UTF-8, such as names in passwd.
///
/// # Errors
/// The file cannot be read.
pub fn read_lossy(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Creates a directory and its missing parents.
///
/// # Errors
/// One of them cannot be created.
pub fn create_dir_all(path: &Path) -> Result<(), FsError> {
    fs::create_dir_all(path).map_err(FsError::at("create directory", path))
}

/// Lists a directory; a missing directory is treated as empty.
///
/// # Errors
/// The directory cannot be opened or read.
pub fn list(directory: &Path) -> Result<Vec<DirEntry>, FsError> {
    let listed = fs::read_dir(directory).and_then(Iterator::collect);
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(FsError::at("list", directory)),
    }
}

/// Removes a file; a missing file is not an error.
///
/// # Errors
/// The file exists and cannot be removed.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FsError::at("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Renames a file or directory.
///
/// # Errors
/// The kernel refuses, for example because the two paths are on different file systems.
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::rename(from, to).map_err(FsError::at("rename to", to))
}

/// Opens the directory `path` below `root`, and creates its missing components if `create` is set.
/// Symbolic links below `root` are not followed: they come from an untrusted image, or from a guest
/// that is running and changes the tree meanwhile.
///
/// # Errors
/// A component is missing, is not a directory, is not a plain name, or cannot be created.
pub fn open_beneath(root: &Path, path: &Path, create: bool) -> Result<OwnedFd, FsError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || -> rustix::io::Result<OwnedFd> {
        let mut directory = rustix::fs::open(root, flags, Mode::empty())?;
        let flags = flags | OFlags::NOFOLLOW;
        for part in path.components() {
            let Component::Normal(part) = part else {
                return Err(Errno::INVAL);
            };
            if create {
                match rustix::fs::mkdirat(&directory, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            directory = rustix::fs::openat(&directory, part, flags, Mode::empty())?;
        }
        Ok(directory)
    };
    let action = if create {
        "create directory"
    } else {
        "open directory"
    };
    open().map_err(|error| FsError::at(action, &root.join(path))(error.into()))
}

/// Opens the file `path` below `root`, or `root` itself if the path is empty. Symbolic links below
/// `root` are not followed.
///
/// # Errors
/// The file cannot be opened with these flags, or a component of the path is a symbolic link.
pub fn open_file_beneath(root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return Ok(rustix::fs::open(root, flags, mode)?.into());
    };
    let directory = open_beneath(root, parent, false).map_err(|error| error.source)?;
    Ok(rustix::fs::openat(directory, name, flags | OFlags::NOFOLLOW, mode)?.into())
}

/// Opens the regular file `name` in `directory` to write to it, and creates it if it is missing.
/// Other users may be able to write to a repository, so a symbolic link is not followed, and a pipe
/// is not waited for.
///
/// # Errors
/// The file cannot be opened or created, or is not a regular file.
pub fn open_note(directory: &Path, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
    ensure_regular(open_file_beneath(directory, Path::new(name), flags)?)
}

/// Creates the empty directory or file `path` below `root`, and its missing parents. A directory
/// may exist already. Symbolic links below `root` are not followed.
///
/// # Errors
/// The file exists, a directory or the file cannot be created, or a component of the path is a
/// symbolic link.
pub fn make_beneath(root: &Path, path: &Path, is_directory: bool) -> io::Result<()> {
    let above = match is_directory {
        true => Some(path),
        false => path.parent(),
    };
    open_beneath(root, above.unwrap_or(path), true).map_err(|error| error.source)?;
    if is_directory {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    open_file_beneath(root, path, flags).map(drop)
}

/// Removes the directory or file `path` below `root` if it is empty. Symbolic links below `root`
/// are neither followed nor removed.
///
/// # Errors
/// It does not exist, is not empty, or a component of the path is a symbolic link.
pub fn remove_empty_beneath(root: &Path, path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = open_beneath(root, parent, false).map_err(|error| error.source)?;
    let is_empty_file = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0);
    // With this flag, only empty directories are removed.
    let flags = match is_empty_file {
        true => AtFlags::empty(),
        false => AtFlags::REMOVEDIR,
    };
    Ok(rustix::fs::unlinkat(&directory, name, flags)?)
}

/// The prefix of the names of files that [`write_atomic`] has not finished.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Writes a file atomically: to a temporary file in the same directory, which is synced and then
/// renamed. `mode` is its permission bits.
///
/// # Errors
/// The temporary file cannot be created, written, synced or renamed; it is removed then.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    use std::os::unix::fs::PermissionsExt;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(|error| FsError::at("create a file beside", path)(without_path(error)))?;
    file.as_file_mut()
        .write_all(bytes)
        .map_err(FsError::at("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(FsError::at("sync", path))?;
    // Closed before the rename: a program that is open for writing cannot be executed.
    file.into_temp_path()
        .persist(path)
        .map_err(|error| FsError::at("rename to", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn only_regular_files_are_read_up_to_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "content").unwrap();
        assert_eq!(read_limited(&at("file"), 7).unwrap(), b"content");
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (path, limit) in [
            (at("file"), 6),
            (at("pipe"), 7),
            (PathBuf::from("/dev/zero"), 7),
            (directory.path().to_path_buf(), 7),
        ] {
            assert!(read_limited(&path, limit).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn errors_of_temporary_files_name_the_path_once() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing/file");
        let error = write_atomic(&missing, b"", 0o600).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            format!(
                "cannot create a file beside '{}': No such file or directory (os error 2)",
                missing.display()
            )
        );
    }

    #[test]
    fn notes_are_written_to_regular_files_only() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let open = |name| open_note(directory.path(), name, OFlags::APPEND);
        for text in ["a", "b"] {
            open("note").unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read(at("note")).unwrap(), b"ab");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, at("pipe"), FileType::Fifo, mode, 0).unwrap();
        std::os::unix::fs::symlink("note", at("link")).unwrap();
        assert!(open("pipe").is_err());
        let _reader = open_file_beneath(
            directory.path(),
            Path::new("pipe"),
            OFlags::RDONLY | OFlags::NONBLOCK,
        );
        assert!(open("pipe").is_err());
        assert!(open("link").is_err());
    }
}
