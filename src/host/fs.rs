//! File operations whose errors say what was tried with which path.

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
    /// What was tried, as a verb.
    pub action: &'static str,
    /// With which path.
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

    /// Whether the cause is that the file is not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the cause is that something cannot be moved so far.
    pub fn crosses_devices(&self) -> bool {
        self.source.kind() == io::ErrorKind::CrossesDevices
    }

    /// Whether the cause is a full disk or an exhausted quota.
    pub fn is_storage_full(&self) -> bool {
        is_storage_full(&self.source)
    }
}

/// Whether an operation failed for want of space.
pub fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// As many bytes as there are, for [`begin_write_back`].
pub const TO_THE_END: u64 = 0;

/// Asks the system to begin writing a part of a file to the disk now, without waiting for it, so
/// that a later sync finds little left to do. Where the system cannot, nothing happens.
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

/// Opens a file to read it. A pipe or a device, at which a reader could wait for ever, is refused:
/// others may write to a repository.
///
/// # Errors
/// The file cannot be opened, or is none.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, is larger, or is none.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, FsError> {
    let file = open_regular(path).map_err(FsError::at("open", path))?;
    read_open(file, path, limit)
}

/// The same for what a user names, which may be a pipe.
///
/// # Errors
/// It cannot be read, or is larger.
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

/// Reads a text that may hold other bytes than UTF-8, such as names in passwd.
///
/// # Errors
/// It cannot be read.
pub fn read_lossy(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a directory and those above it that are missing.
///
/// # Errors
/// One of them cannot be made.
pub fn create_dir_all(path: &Path) -> Result<(), FsError> {
    fs::create_dir_all(path).map_err(FsError::at("create directory", path))
}

/// Lists a directory; one that is not there is empty.
///
/// # Errors
/// It cannot be read to its end.
pub fn list(directory: &Path) -> Result<Vec<DirEntry>, FsError> {
    let listed = fs::read_dir(directory).and_then(Iterator::collect);
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(FsError::at("list", directory)),
    }
}

/// Removes a file; one that is not there is no error.
///
/// # Errors
/// It is there and cannot be removed.
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
/// The system refuses, for one because the two are on different file systems.
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    fs::rename(from, to).map_err(FsError::at("rename to", to))
}

/// Opens the directory `path` below `root`, for work in it, and makes what is missing of it where
/// `create` says so. No symbolic link below `root` is followed, since what is there belongs to a
/// stranger's image, or to a guest that changes it just now.
///
/// # Errors
/// A part of the path is missing, is no directory, is not a name, or cannot be made.
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

/// Opens the file `path` below `root`, or `root` itself where the path is empty; no symbolic link
/// below `root` is followed.
///
/// # Errors
/// What the system says; a link is in the way.
pub fn open_file_beneath(root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return Ok(rustix::fs::open(root, flags, mode)?.into());
    };
    let directory = open_beneath(root, parent, false).map_err(|error| error.source)?;
    Ok(rustix::fs::openat(directory, name, flags | OFlags::NOFOLLOW, mode)?.into())
}

/// Makes the empty directory or file `path` below `root`, and the directories above it; a directory
/// may be there already. No symbolic link below `root` is followed.
///
/// # Errors
/// What the system says; a link is in the way.
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

/// Removes the directory or file `path` below `root` if it is empty. No symbolic link below `root`
/// is followed, nor removed.
///
/// # Errors
/// It is not there, or is put to use; a link is in the way.
pub fn remove_empty_beneath(root: &Path, path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = open_beneath(root, parent, false).map_err(|error| error.source)?;
    let is_empty_file = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0);
    // Of anything else, this removes empty directories alone.
    let flags = match is_empty_file {
        true => AtFlags::empty(),
        false => AtFlags::REMOVEDIR,
    };
    Ok(rustix::fs::unlinkat(&directory, name, flags)?)
}

/// How the names of files begin that [`write_atomic`] has not finished.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Writes a file so that it appears under its name whole or not at all: written beside it,
/// synced, renamed. `mode` holds the permission bits.
///
/// # Errors
/// Any step that fails; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    use std::os::unix::fs::PermissionsExt;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(FsError::at("create a file beside", path))?;
    file.write_all(bytes).map_err(FsError::at("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(FsError::at("sync", path))?;
    // Closed before it has its name: a program that is open for writing cannot be executed.
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
    fn only_files_are_read_and_only_so_far() {
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
}
