//! Copying trees, with shared blocks where the file system supports that.
//!
//! One thread walks the tree and makes directories and links; a pool of workers copies the files. A
//! directory gets its mode and mtime from the last thread that is done with it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::attributes::Attributes;
use super::data_runs::DataRuns;
use super::dir_stack::{DirStack, OPEN_DIRECTORY, open_top};
use super::error::{Failure, RootfsError};
use super::fingerprint::{Check, TreeFingerprint, has_changed, is_unchanged};
use super::hard_links::HardLinks;
use super::walk::{AddedPermission, Found, Visitor, open_to_read, walk};
use super::worker_pool::{Job, Queue, WorkerPool};
use super::writers::modified_at;
use super::xattrs::{Xattrs, set_xattrs, xattrs_of};
use crate::host::fs::FsError;
use crate::progress::Task;
use crate::stream::Run;

/// The depth down to which workers copy files, since they hold the directories open. Below that,
/// the walking thread copies them.
const SHARED_LEVELS: usize = 32;

/// Copies everything in the directory `source` into the directory `target`, which may hold
/// directories of the same names already, and nothing else.
///
/// Blocks are shared where the file system supports that (`FICLONE`), else the kernel copies them;
/// holes stay holes. Hard links stay links; modes, mtimes and extended attributes are kept. Sockets
/// are left out, and so is the content of directories at which something is mounted. The lines of
/// `attributes` that belong to copied files are written to `copied_attributes`, for the copies.
/// `task` counts bytes.
///
/// # Errors
/// A file cannot be read or made; what was made until then stays.
pub fn copy_tree(
    source: &Path,
    target: &Path,
    attributes: &Attributes,
    copied_attributes: &mut dyn Write,
    task: &dyn Task,
) -> Result<(), RootfsError> {
    copy_below(source, target, (attributes, copied_attributes), None, task)
}

/// Copies the root file system `source` to the empty directory `target` as [`copy_tree`] does, and
/// gives `target` the mode and mtime of `source`.
///
/// # Errors
/// Errors of [`copy_tree`].
pub fn copy_root(source: &Path, target: &Path, task: &dyn Task) -> Result<(), RootfsError> {
    let attributes = (&Attributes::default(), &mut io::sink() as &mut _);
    copy_below(source, target, attributes, None, task)?;
    let from = open_top(source)?;
    let stat =
        rustix::fs::fstat(&from).map_err(|error| FsError::at("read", source)(error.into()))?;
    finish_root(stat, &from, target)
}

/// Copies, as [`copy_root`] does, the files that the root file system `source` had when
/// `fingerprint` was taken.
///
/// # Errors
/// One of them was changed or removed; errors of [`copy_tree`].
pub fn copy_unmodified(
    source: &Path,
    target: &Path,
    fingerprint: &TreeFingerprint,
    task: &dyn Task,
) -> Result<(), RootfsError> {
    let from = open_top(source)?;
    let mut check = Check::of(fingerprint);
    let stat = check
        .top(from.as_fd())
        .map_err(|failure| failure.below(source))?;
    let attributes = (&Attributes::default(), &mut io::sink() as &mut _);
    copy_below(source, target, attributes, Some(check), task)?;
    finish_root(stat, &from, target)
}

fn finish_root(stat: Stat, from: &OwnedFd, target: &Path) -> Result<(), RootfsError> {
    let metadata = DirMetadata {
        stat,
        xattrs: xattrs_of(from.as_fd()),
    };
    let to = open_top(target)?;
    Ok(metadata
        .finish(to.as_fd())
        .map_err(FsError::at(FINISHING, target))?)
}

/// Copies the content of `source`, or only the files that `check` selects.
fn copy_below(
    source: &Path,
    target: &Path,
    (attributes, copied_attributes): (&Attributes, &mut dyn Write),
    check: Option<Check<'_>>,
    task: &dyn Task,
) -> Result<(), RootfsError> {
    let from = open_top(source)?;
    let top = open_top(target)?;
    let to = top
        .try_clone()
        .and_then(|top| DirStack::new(top, DirWriter::Sequential(None)))
        .map_err(FsError::at("open", target))?;
    let context = CopyContext {
        can_share: AtomicBool::new(true),
        unfinished: Mutex::default(),
        verify_unchanged: check.is_some(),
        task,
    };
    let queue = Queue::default();
    let copied = std::thread::scope(|scope| {
        let mut copier = Copier {
            target: to,
            top,
            workers: WorkerPool::start(scope, &queue),
            linked: HardLinks::default(),
            context: &context,
            depth: 0,
            attributes,
            copied_attributes,
            check,
        };
        walk(from, &mut copier)?;
        copier.workers.drain()?;
        if copier.check.is_some_and(|check| !check.is_complete()) {
            return Err(Failure::at("copy", b"")(has_changed()));
        }
        let unfinished = context.unfinished.lock();
        match unfinished.unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    });
    copied.map_err(|failure: Failure| failure.below(source))
}

/// What all threads of a copy share.
struct CopyContext<'c> {
    /// Whether the file system may support sharing blocks.
    can_share: AtomicBool,
    /// The first failure to set the metadata of a directory.
    unfinished: Mutex<Option<Failure>>,
    /// Whether a file that changes while it is copied is an error.
    verify_unchanged: bool,
    task: &'c dyn Task,
}

struct Copier<'q, 'c> {
    /// The directory being filled.
    target: DirStack<DirWriter<'c>>,
    /// The top of the copy, from which the paths in `linked` count.
    top: OwnedFd,
    workers: WorkerPool<'q, FileCopy<'c>>,
    linked: HardLinks,
    context: &'c CopyContext<'c>,
    /// Directories between the top and the one being filled.
    depth: usize,
    attributes: &'c Attributes,
    copied_attributes: &'c mut dyn Write,
    /// Selects the files to copy.
    check: Option<Check<'c>>,
}

/// Which threads fill a directory.
enum DirWriter<'c> {
    /// Only the walking thread; with the metadata to set, if any.
    Sequential(Option<DirMetadata>),
    /// The workers, too.
    Shared(Arc<SharedDir<'c>>),
}

/// A directory in which several threads make files. Dropping the last reference sets its metadata.
struct SharedDir<'c> {
    directory: OwnedFd,
    path: Vec<u8>,
    metadata: DirMetadata,
    context: &'c CopyContext<'c>,
}

/// The metadata that a directory gets when nothing more is made in it.
struct DirMetadata {
    stat: Stat,
    xattrs: Xattrs,
}

/// A file to be copied.
struct FileCopy<'c> {
    source: File,
    /// Lets the source be read, with its extended attributes.
    _added: Option<AddedPermission>,
    stat: Stat,
    name: CString,
    shared: Arc<SharedDir<'c>>,
}

impl Visitor for Copier<'_, '_> {
    type Error = Failure;

    fn wants(&mut self, found: &Found<'_>) -> Result<bool, Failure> {
        match &mut self.check {
            Some(check) => check.knows(found),
            None => Ok(true),
        }
    }

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let at = |action| Failure::at::<io::Error>(action, found.path);
        let (parent, _) = self.target.here();
        match rustix::fs::mkdirat(parent, found.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(at("create directory")(error.into())),
        }
        self.attributes
            .write_copy(found, parent, self.copied_attributes)
            .map_err(at("write the attributes of"))?;
        let made = rustix::fs::openat(parent, found.name, OPEN_DIRECTORY, Mode::empty())
            .map_err(|error| at("open")(error.into()))?;
        let stat = match &mut self.check {
            Some(check) => check.directory(found.path, &found.stat, directory)?,
            None => found.stat,
        };
        let metadata = DirMetadata {
            stat,
            xattrs: xattrs_of(directory),
        };
        self.depth += 1;
        let writer = if self.depth > SHARED_LEVELS {
            DirWriter::Sequential(Some(metadata))
        } else {
            DirWriter::Shared(Arc::new(SharedDir {
                directory: made.try_clone().map_err(at("open"))?,
                path: found.path.to_vec(),
                metadata,
                context: self.context,
            }))
        };
        self.target
            .down(CString::from(found.name), made, writer)
            .map_err(at("open"))
    }

    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        // Files to which later files or attributes refer are copied at once.
        let is_plain = FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile
            && found.stat.st_nlink == 1
            && !self.attributes.may_have(found);
        let (_, writer) = self.target.here();
        if let DirWriter::Shared(shared) = writer
            && is_plain
        {
            let (source, added) =
                open_to_read(found, OFlags::RDONLY).map_err(Failure::at("copy", found.path))?;
            return self.workers.push(FileCopy {
                source: File::from(source),
                _added: added,
                stat: found.stat,
                name: CString::from(found.name),
                shared: Arc::clone(shared),
            });
        }
        self.copy(found).map_err(Failure::at("copy", found.path))?;
        let (parent, _) = self.target.here();
        self.attributes
            .write_copy(found, parent, self.copied_attributes)
            .map_err(Failure::at("write the attributes of", found.path))
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.depth -= 1;
        // Going up needs permission to search the directory, which its mode may not give.
        let left = self.target.up().map_err(Failure::at("read", b".."))?;
        if let Some(left) = left
            && let DirWriter::Sequential(Some(metadata)) = left.state
        {
            let finished = metadata.finish(left.directory.as_fd());
            finished.map_err(Failure::at(FINISHING, &self.target.path_of(&left.name)))?;
        }
        Ok(())
    }
}

const FINISHING: &str = "set mode and time of";

impl DirMetadata {
    fn finish(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        set_xattrs(directory, &self.xattrs);
        finish(directory, &self.stat)
    }
}

impl Drop for SharedDir<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.metadata.finish(self.directory.as_fd()) {
            let failure = Failure::at(FINISHING, &self.path)(error);
            let mut unfinished = self.context.unfinished.lock();
            unfinished
                .as_deref_mut()
                .unwrap_or_else(|poisoned| poisoned.get_mut())
                .get_or_insert(failure);
        }
    }
}

impl Job for FileCopy<'_> {
    // Each job holds a file open.
    const BATCH: usize = 8;
    const MAX_BATCHES: usize = 4;

    fn run(&self) -> Result<(), Failure> {
        let parent = self.shared.directory.as_fd();
        let context = self.shared.context;
        let copied = copy_file(&self.source, &self.stat, parent, &self.name, context);
        copied.map_err(|error| {
            let path = [&self.shared.path, &b"/"[..], self.name.as_bytes()].concat();
            Failure::at("copy", &path)(error)
        })
    }
}

impl Copier<'_, '_> {
    fn copy(&mut self, found: &Found<'_>) -> io::Result<()> {
        let stat = &found.stat;
        let (parent, _) = self.target.here();
        if let Some(first) = self.linked.first_path(stat) {
            match rustix::fs::linkat(&self.top, &first[..], parent, found.name, AtFlags::empty()) {
                // The path is too long for a system call, the file has too many links, or a
                // directory on the path already has a mode that denies its owner access.
                Err(Errno::NAMETOOLONG | Errno::MLINK | Errno::ACCESS) => {}
                linked => return Ok(linked?),
            }
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let (source, _added) = open_to_read(found, OFlags::RDONLY)?;
                let source = File::from(source);
                copy_file(&source, stat, parent, found.name, self.context)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())?;
                if self.context.verify_unchanged {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let after = rustix::fs::statat(found.parent, found.name, flags)?;
                    require_unchanged(stat, &after)?;
                }
                rustix::fs::symlinkat(&target, parent, found.name)?;
                keep_owner_at(parent, found);
                set_time(parent, found)?;
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(parent, found.name, FileType::Fifo, mode, 0)?;
                keep_owner_at(parent, found);
                // The umask may have cleared bits.
                rustix::fs::chmodat(parent, found.name, mode, AtFlags::empty())?;
                set_time(parent, found)?;
            }
            // A socket is of no use without its process, and devices cannot be made.
            _ => return Ok(()),
        }
        self.linked.add(stat, found.path);
        Ok(())
    }
}

/// Sets the mtime of the copy of a link or a pipe.
fn set_time(parent: BorrowedFd<'_>, found: &Found<'_>) -> io::Result<()> {
    let times = modified_at((&found.stat).into());
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(parent, found.name, &times, flags)?)
}

fn copy_file(
    source: &File,
    stat: &Stat,
    parent: BorrowedFd<'_>,
    name: &CStr,
    context: &CopyContext<'_>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
    let made = File::from(made);
    let size = size_of(stat);
    context.task.advance(size);
    if size > 0 && !share(source, &made, &context.can_share) {
        match DataRuns::of(source.as_fd(), stat) {
            None => copy_run(source, &made, (0, size))?,
            Some(runs) => {
                for run in runs {
                    copy_run(source, &made, run?)?;
                }
                made.set_len(size)?;
            }
        }
    }
    set_xattrs(made.as_fd(), &xattrs_of(source.as_fd()));
    if context.verify_unchanged {
        require_unchanged(stat, &rustix::fs::fstat(source)?)?;
    }
    finish(made.as_fd(), stat)
}

fn require_unchanged(before: &Stat, after: &Stat) -> io::Result<()> {
    if is_unchanged(before, after) {
        Ok(())
    } else {
        Err(has_changed())
    }
}

/// Lets both files share their blocks until one of them is written to; returns whether they do.
fn share(source: &File, made: &File, can_share: &AtomicBool) -> bool {
    if !can_share.load(Ordering::Relaxed) {
        return false;
    }
    match rustix::fs::ioctl_ficlone(made, source) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
            can_share.store(false, Ordering::Relaxed);
            false
        }
        Err(_) => false,
    }
}

/// Copies a run of data to the same offset of another file.
fn copy_run(mut source: &File, mut made: &File, (offset, length): Run) -> io::Result<()> {
    source.seek(SeekFrom::Start(offset))?;
    made.seek(SeekFrom::Start(offset))?;
    if io::copy(&mut source.take(length), &mut made)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn finish(made: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    keep_owner(stat, |owner, group| rustix::fs::fchown(made, owner, group));
    rustix::fs::fchmod(made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(made, &modified_at(stat.into()))?)
}

/// Gives a copy the owner of the original with `chown`, if the process may: as root of id ranges.
/// This must come before the mode is set, since it clears setuid.
fn keep_owner(
    original: &Stat,
    chown: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
) {
    let (owner, group) = (
        Uid::from_raw(original.st_uid),
        Gid::from_raw(original.st_gid),
    );
    if (owner, group) != (geteuid(), getegid()) {
        let _ = chown(Some(owner), Some(group));
    }
}

/// Gives the copy of a link or a pipe the owner of the original, if the process may.
fn keep_owner_at(parent: BorrowedFd<'_>, found: &Found<'_>) {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    keep_owner(&found.stat, |owner, group| {
        rustix::fs::chownat(parent, found.name, owner, group, flags)
    });
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    use rustix::fs::XattrFlags;

    use super::*;
    use crate::progress::Silent;
    use crate::rootfs::pack_tree;

    /// Enough for directories far above the current one to be closed, below the shared levels, too.
    const CLOSED_LEVELS: usize = 80;

    /// The directories `d`, `d/d` and so on below `root`.
    fn levels(root: &Path) -> Vec<PathBuf> {
        let level = |depth| root.join("d/".repeat(depth));
        (1..=CLOSED_LEVELS).map(level).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Gives the owner access to all levels, and returns their modes and that of `file` before.
    fn open_all(root: &Path) -> Vec<u32> {
        let open = |(path, mode): (PathBuf, u32)| {
            let before = fs::metadata(&path).unwrap().mode() & 0o7777;
            set_mode(&path, mode);
            before
        };
        let levels = levels(root);
        let file = levels[CLOSED_LEVELS - 1].join("file");
        let levels = levels.into_iter().map(|level| (level, 0o700));
        levels.chain([(file, 0o600)]).map(open).collect()
    }

    /// As root, this test cannot fail.
    #[test]
    fn files_whose_modes_deny_the_owner_access_are_copied_and_packed() {
        let scratch = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| scratch.path().join(name));
        let levels = levels(&source);
        let deepest = levels.last().unwrap();
        fs::create_dir_all(deepest).unwrap();
        fs::create_dir(&target).unwrap();
        let file = deepest.join("file");
        fs::write(&file, "content").unwrap();
        let set = rustix::fs::setxattr(&file, "user.a", b"kept", XattrFlags::empty());
        let xattrs = if set.is_ok() { 1 } else { 0 };
        // By the time it is copied, its first name cannot be reached any more.
        fs::hard_link(&file, source.join("link")).unwrap();
        set_mode(&file, 0o200);
        for level in levels.iter().rev() {
            set_mode(level, 0o600);
        }
        copy_root(&source, &target, &Silent).unwrap();
        let packed = pack_tree(&source, &Attributes::default(), Vec::new()).unwrap();

        let modes = [&[0o600; CLOSED_LEVELS][..], &[0o200]].concat();
        for root in [&source, &target] {
            assert_eq!(open_all(root), modes);
        }
        let copy = target.join(file.strip_prefix(&source).unwrap());
        assert_eq!(fs::read(&copy).unwrap(), b"content");
        set_mode(&target.join("link"), 0o600);
        assert_eq!(fs::read(target.join("link")).unwrap(), b"content");
        assert_eq!(xattrs_of(File::open(&copy).unwrap().as_fd()).len(), xattrs);

        let mut archive = tar::Archive::new(&packed[..]);
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let mut entry = entries
            .find(|entry| entry.path().unwrap().ends_with("file"))
            .unwrap();
        let extensions = entry.pax_extensions().unwrap().into_iter().flatten();
        let keys: Vec<String> = extensions
            .map(|extension| extension.unwrap().key().unwrap().to_string())
            .filter(|key| key != "path")
            .collect();
        assert_eq!(keys, vec!["SCHILY.xattr.user.a"; xattrs]);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"content");
    }
}
