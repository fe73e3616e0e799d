//! Removing trees, whatever modes, depth and names they have.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Timestamps};
use rustix::io::Errno;

use super::dir_stack::{DirStack, is_mount_point, open_directory};
use super::error::{Failure, RootfsError};
use super::writers::modified_at;
use crate::host::fs::FsError;
use crate::progress::Task;

/// The most names of subdirectories in memory, of all levels. Those beyond are read again later.
const MAX_PENDING: usize = 16 * 1024;
const DIRECTORY_BUFFER_BYTES: usize = 32 * 1024;

/// Removes `path` and, if it is a directory, everything in it.
///
/// Symbolic links are removed, not followed. Directories get `u+rwx` first, where their mode
/// forbids it. A path that does not exist is no error. `task` counts files.
///
/// # Errors
/// Something is mounted at a directory in the tree; or the system refuses to open or remove a file.
/// What was removed until then stays removed.
pub fn remove_tree(path: &Path, task: &dyn Task) -> Result<(), RootfsError> {
    let Some(name) = path.file_name() else {
        return Err(FsError::at("remove", path)(Errno::INVAL.into()).into());
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.map_err(|error| FsError::at("open", parent)(error.into()))?,
    };
    let name = CString::new(name.as_bytes())
        .map_err(|_| FsError::at("remove", path)(Errno::INVAL.into()))?;
    let keep_nothing = |_, _: &CStr| {
        task.advance(1);
        false
    };
    remove_at(
        directory.as_fd(),
        &name,
        &keep_nothing,
        &mut Emptied::default(),
    )
    .map_err(|failure| failure.below(parent))
}

/// Whether a name, in the directory with an inode number, is kept.
pub(super) type Keep<'a> = &'a dyn Fn(u64, &CStr) -> bool;

/// The inodes of directories that hold only what is kept, and something of that. As long as
/// whatever is made in them is kept, too, they need not be read again, even if a hostile archive
/// asks for it over and over.
pub(super) type Emptied = HashSet<u64>;

/// Removes `name` from `parent` with everything in it, except for what `keep` selects and the
/// directories that lead to that. Paths in failures begin with `name`.
pub(super) fn remove_at(
    parent: BorrowedFd<'_>,
    name: &CStr,
    keep: Keep<'_>,
    emptied: &mut Emptied,
) -> Result<(), Failure> {
    let refusal = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // For directories, Linux returns the first, POSIX specifies the second.
        Err(refusal @ (Errno::ISDIR | Errno::PERM)) => refusal,
        Err(error) => return Err(failure("remove", name.to_bytes(), error)),
    };
    let directory = open_to_empty(parent, name).map_err(|error| {
        match Errno::from_io_error(&error) {
            // It is a file, so the first error holds.
            Some(Errno::NOTDIR) => failure("remove", name.to_bytes(), refusal),
            _ => failure("remove", name.to_bytes(), error),
        }
    })?;
    let has_kept = empty_directory(directory, keep, emptied).map_err(|mut failure| {
        failure.path = [name.to_bytes(), b"/", &failure.path].concat();
        failure
    })?;
    if has_kept {
        return Ok(());
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failure("remove", name.to_bytes(), error)),
    }
}

/// Opens the directory `name` in `parent`, unless something is mounted there: its content is not
/// part of the tree.
fn open_to_empty(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    if is_mount_point(parent, name)? {
        return Err(something_mounted());
    }
    open_directory(parent, name)
}

fn something_mounted() -> io::Error {
    let message = "something is mounted there";
    io::Error::new(io::ErrorKind::ResourceBusy, message)
}

/// Makes sure that nothing is mounted at `path` or below it, before anything is removed. Where the
/// table of mounts cannot be read, [`remove_tree`] makes sure of it.
///
/// # Errors
/// Something is mounted there.
pub fn require_unmounted(path: &Path) -> Result<(), RootfsError> {
    let read = || {
        Some((
            fs::read("/proc/self/mountinfo").ok()?,
            path.canonicalize().ok()?,
        ))
    };
    let Some((mountinfo, path)) = read() else {
        return Ok(());
    };
    match mount_point_below(&mountinfo, path.as_os_str().as_bytes()) {
        Some(place) => {
            let place = Path::new(OsStr::from_bytes(place));
            Err(FsError::at("remove", place)(something_mounted()).into())
        }
        None => Ok(()),
    }
}

/// The first mount point at or below `path` in the table of mounts `mountinfo`, as it is written
/// there: with blanks, tabs, newlines and backslashes as `\040` and the like.
///
/// Source: proc_pid_mountinfo(5).
fn mount_point_below<'t>(mountinfo: &'t [u8], path: &[u8]) -> Option<&'t [u8]> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(*byte),
        }
    }
    let mut places = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    places.find(|place| {
        let rest = place.strip_prefix(&escaped[..]);
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    })
}

/// Removes everything in `directory`, except for what `keep` selects and the directories that lead
/// to that, and returns whether anything was kept. Directories below it that stay keep their
/// mtimes.
pub(super) fn empty_directory(
    directory: OwnedFd,
    keep: Keep<'_>,
    emptied: &mut Emptied,
) -> Result<bool, Failure> {
    let start = |error: io::Error| failure("read", b"", error);
    let level = Level::new(directory.as_fd()).map_err(start)?;
    if emptied.contains(&level.inode) {
        return Ok(true);
    }
    let mut removal = Removal {
        stack: DirStack::new(directory, level).map_err(start)?,
        buffer: vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES],
        pending: 0,
        keep,
        emptied,
    };
    loop {
        if removal.go_down()? {
            continue;
        }
        if !removal.read_on()? {
            continue;
        }
        if let Some(has_kept) = removal.go_up()? {
            return Ok(has_kept);
        }
    }
}

/// The state of a removal.
struct Removal<'k> {
    stack: DirStack<Level>,
    buffer: Vec<MaybeUninit<u8>>,
    /// The number of names in `pending` of all levels.
    pending: usize,
    keep: Keep<'k>,
    emptied: &'k mut Emptied,
}

/// The state of a directory that is being emptied.
struct Level {
    inode: u64,
    /// Subdirectories still to be emptied.
    pending: Vec<CString>,
    /// Whether anything was removed since the directory was last read from its beginning.
    has_removed: bool,
    /// Whether anything in it is kept.
    has_kept: bool,
    /// The mtime it had before.
    times: Timestamps,
}

impl Level {
    fn new(directory: BorrowedFd<'_>) -> io::Result<Level> {
        let stat = rustix::fs::fstat(directory)?;
        Ok(Level {
            inode: stat.st_ino,
            pending: Vec::new(),
            has_removed: false,
            has_kept: false,
            times: modified_at((&stat).into()),
        })
    }
}

impl Removal<'_> {
    /// Goes down into the next pending subdirectory; returns whether there was one.
    fn go_down(&mut self) -> Result<bool, Failure> {
        let (directory, level) = self.stack.here();
        let Some(name) = level.pending.pop() else {
            return Ok(false);
        };
        self.pending -= 1;
        let open = || {
            let subdirectory = open_to_empty(directory, &name)?;
            Ok((Level::new(subdirectory.as_fd())?, subdirectory))
        };
        let opened = open().or_else(|error: io::Error| match Errno::from_io_error(&error) {
            // The mode of the directory above may forbid looking up names in it.
            Some(Errno::ACCESS) => {
                rustix::fs::fchmod(directory, Mode::RWXU)?;
                open()
            }
            _ => Err(error),
        });
        match opened {
            Ok((found, _)) if self.emptied.contains(&found.inode) => level.has_kept = true,
            Ok((level, subdirectory)) => {
                let path = name.clone();
                self.stack
                    .down(name, subdirectory, level)
                    .map_err(|error| failure("remove", path.to_bytes(), error))?;
            }
            // Another process has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(failure("remove", &self.stack.path_of(&name), error));
            }
        }
        Ok(true)
    }

    /// Reads on in the directory: removes files, and notes subdirectories as pending. Returns
    /// whether the end was reached and none are pending.
    fn read_on(&mut self) -> Result<bool, Failure> {
        let (directory, level) = self.stack.here();
        let mut failed = None;
        let mut entries = RawDir::new(directory, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    failed = Some(("read", c".".to_owned(), error));
                    break;
                }
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Unknown => is_directory(directory, name),
                file_type => file_type == FileType::Directory,
            };
            if is_directory {
                if self.pending < MAX_PENDING || level.pending.is_empty() {
                    level.pending.push(name.to_owned());
                    self.pending += 1;
                }
            } else if (self.keep)(level.inode, name) {
                level.has_kept = true;
            } else {
                match unlink(directory, name, AtFlags::empty()) {
                    Ok(()) => level.has_removed = true,
                    Err(error) => {
                        failed = Some(("remove", name.to_owned(), error));
                        break;
                    }
                }
            }
            if entries.is_buffer_empty() && !level.pending.is_empty() {
                break;
            }
        }
        match failed {
            Some((action, name, error)) => Err(failure(action, &self.stack.path_of(&name), error)),
            None => Ok(level.pending.is_empty()),
        }
    }

    /// Leaves a directory that was read to its end. Returns, at the top, whether anything was kept.
    fn go_up(&mut self) -> Result<Option<bool>, Failure> {
        let (directory, level) = self.stack.here();
        if level.has_kept {
            // File systems may skip names in a directory while others are removed from it.
            if level.has_removed {
                level.has_removed = false;
                rustix::fs::seek(directory, SeekFrom::Start(0))
                    .map_err(|error| failure("read", b"", error))?;
                return Ok(None);
            }
            self.emptied.insert(level.inode);
        }
        let left = match self.stack.up() {
            Ok(left) => left,
            Err(error) => return Err(failure("open", &self.stack.path_of(c".."), error)),
        };
        let (directory, level) = self.stack.here();
        let Some(left) = left else {
            if level.has_kept {
                keep_time(directory, level).map_err(|error| failure(KEEPING_TIME, b"", error))?;
            }
            return Ok(Some(level.has_kept));
        };
        let (name, below) = (left.name, left.state);
        if below.has_kept || (self.keep)(level.inode, &name) {
            level.has_kept = true;
            keep_time(left.directory.as_fd(), &below)
                .map_err(|error| failure(KEEPING_TIME, &self.stack.path_of(&name), error))?;
            return Ok(None);
        }
        match unlink(directory, &name, AtFlags::REMOVEDIR) {
            Ok(()) => level.has_removed = true,
            // A name was skipped while it was read, or another process has added one.
            Err(Errno::NOTEMPTY) if below.has_removed => {
                level.pending.push(name);
                self.pending += 1;
            }
            Err(error) => {
                return Err(failure("remove", &self.stack.path_of(&name), error));
            }
        }
        Ok(None)
    }
}

const KEEPING_TIME: &str = "set the time of";

/// Gives a directory back the mtime that it had before its content was removed.
fn keep_time(directory: BorrowedFd<'_>, level: &Level) -> rustix::io::Result<()> {
    rustix::fs::futimens(directory, &level.times)
}

/// Removes a name; if the directory's mode forbids that, the directory gets `u+rwx` first.
fn unlink(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            rustix::fs::unlinkat(directory, name, flags)
        }
        other => other,
    }
}

fn is_directory(directory: BorrowedFd<'_>, name: &CStr) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn failure(action: &'static str, path: &[u8], error: impl Into<io::Error>) -> Failure {
    Failure {
        path: path.to_vec(),
        action,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_found_at_a_path_and_below() {
        let table = b"1 0 8:1 / / rw,relatime - ext4 /dev/sda rw\n\
            2 1 0:5 / /a/b rw - tmpfs t rw\n\
            3 2 0:6 / /with\\040blank/below ro - tmpfs t rw\n\
            4 1 0:6 / /end rw - tmpfs t rw\n";
        for (path, expected) in [
            ("/a", Some("/a/b")),
            ("/a/b", Some("/a/b")),
            ("/a/b/c", None),
            ("/en", None),
            ("/with blank", Some("/with\\040blank/below")),
        ] {
            let found = mount_point_below(table, path.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{path}");
        }
    }
}
