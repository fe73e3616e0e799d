//! Applies the entries of layers to a tree, beneath a directory handle.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dir_stack::open_directory;
use super::directories::{Directories, Directory, Missing};
use super::entry::{Entry, EntryKind, EntryPath, ShownPath};
use super::error::{Failure, RootfsError, Stop};
use super::plan::{Existing, Plan, Room, plan, room_for};
use super::prefetch::{StagedContent, StagedEntry, StagedLayer};
use super::remove::{Emptied, empty_directory, remove_at};
use super::tar::{Members, Source};
use super::writers::{
    Content, FileStyle, NewFile, Writers, create_file, modified_at, write_content,
};
use super::xattrs::replace_xattrs;
use super::{ApplyOptions, Summary};

/// Files up to this size are written by the writers, larger ones while they are read.
const SMALL_FILE_BYTES: u64 = 512 * 1024;

/// The most device nodes of all layers. They are left out, and so take no room on the disk, which
/// limits all other entries.
const MAX_DEVICES: usize = 1 << 16;

/// Where the entries of the next layer come from.
pub(super) enum Turn {
    /// From the pipeline. The sender is dropped once the layer has been read.
    FromPipeline(Option<Sender<Infallible>>),
    /// From a worker that reads the layer before its turn.
    Staged(StagedLayer),
}

/// Where the content of an entry is.
enum Body<'a, 's, 'p> {
    /// In the archive, at the current member.
    InArchive(&'a mut Members<'s, 'p>),
    /// In a file in the staging directory.
    Staged(StagedContent),
}

/// Applies layers to a tree.
pub(super) struct Applier<'q> {
    directories: Directories,
    writers: Writers<'q>,
    options: ApplyOptions<'q>,
    summary: Summary,
    style: FileStyle,
    /// The names that the current layer has made.
    made: NameSet,
    /// The directories that whiteouts of the current layer have emptied.
    emptied: Emptied,
    /// The device nodes, of all layers, that were left out.
    left_out: NameSet,
}

/// A set of names in directories. It holds hashes, so that a million names fit into memory; their
/// keys are random, so that no archive can make two names collide.
#[derive(Default)]
struct NameSet {
    keys: HashSet<u64>,
    hashes: RandomState,
}

impl NameSet {
    fn key(&self, directory: u64, name: &[u8]) -> u64 {
        self.hashes.hash_one((directory, name))
    }

    fn insert(&mut self, directory: u64, name: &[u8]) {
        self.keys.insert(self.key(directory, name));
    }

    fn remove(&mut self, directory: u64, name: &[u8]) {
        self.keys.remove(&self.key(directory, name));
    }

    fn contains(&self, directory: u64, name: &[u8]) -> bool {
        self.keys.contains(&self.key(directory, name))
    }
}

impl<'q> Applier<'q> {
    /// Prepares to apply layers to `root`, an empty directory.
    pub(super) fn new(
        root: OwnedFd,
        writers: Writers<'q>,
        options: ApplyOptions<'q>,
    ) -> io::Result<Applier<'q>> {
        Ok(Applier {
            style: FileStyle::of(&root, options.begin_write_back)?,
            directories: Directories::new(root),
            writers,
            options,
            summary: Summary::default(),
            made: NameSet::default(),
            emptied: Emptied::default(),
            left_out: NameSet::default(),
        })
    }

    /// Applies layers in the order of their turns; `source` reads from the pipeline.
    pub(super) fn apply_all(
        mut self,
        turns: Receiver<Turn>,
        source: &mut Source<'_>,
    ) -> Result<Summary, RootfsError> {
        for turn in turns {
            self.made.keys.clear();
            self.emptied.clear();
            self.directories.next_layer();
            let (name, result) = match turn {
                Turn::FromPipeline(_pipeline_busy) => {
                    let Some(name) = source.next_layer() else {
                        break;
                    };
                    (name, self.apply_from_pipeline(source))
                }
                Turn::Staged(layer) => (layer.name.clone(), self.apply_staged(&layer)),
            };
            result.map_err(|stop| stop.in_layer(&name))?;
            self.directories
                .close_all()
                .map_err(|failure| failure.in_layer(&name))?;
            self.summary.layers += 1;
        }
        Ok(self.summary)
    }

    fn apply_from_pipeline(&mut self, source: &mut Source<'_>) -> Result<(), Stop> {
        let mut members = Members::new(source);
        while let Some(entry) = next_entry(&mut members)? {
            self.apply_entry(entry, Body::InArchive(&mut members))?;
        }
        self.writers.drain()?;
        Ok(source.drain()?)
    }

    fn apply_staged(&mut self, layer: &StagedLayer) -> Result<(), Stop> {
        while let Some(StagedEntry { entry, content }) = layer.next()? {
            self.apply_entry(entry, Body::Staged(content))?;
        }
        Ok(self.writers.drain()?)
    }

    fn apply_entry(&mut self, entry: Entry, body: Body<'_, '_, '_>) -> Result<(), Stop> {
        self.summary.entries += 1;
        self.limit_entries()?;
        if self.directories.is_full() {
            self.writers.drain()?;
            self.directories.close_half()?;
        }
        let (parent, _) = entry.path.split();
        match plan(&entry.path) {
            Ok(Plan::Make) if entry.path.is_root() => Ok(self.set_root(&entry)?),
            Ok(Plan::Make) => self.make(entry, body),
            Ok(Plan::Whiteout(name)) => Ok(self.apply_whiteout(parent, name)?),
            Ok(Plan::Opaque) => Ok(self.apply_opaque_whiteout(parent)?),
            Ok(Plan::Ignore) => Ok(()),
            Err(error) => Err(Stop::Entry(entry.path.as_bytes().to_vec(), error)),
        }
    }

    /// Gives the root the metadata of its entry.
    fn set_root(&mut self, entry: &Entry) -> Result<(), Failure> {
        let root = self.parent(b"")?;
        self.set_directory(&root, entry)
    }

    fn make(&mut self, entry: Entry, body: Body<'_, '_, '_>) -> Result<(), Stop> {
        let (parent_path, name) = entry.path.split();
        let parent = self.parent(parent_path)?;
        self.limit_entries()?;
        if let EntryKind::HardLink { target } = &entry.kind {
            return self.make_hard_link(&entry, parent, target);
        }
        let existing = self.existing(&parent, parent_path, name)?;
        let room = room_for(&entry.kind, existing);
        let parent = self.make_room(parent, parent_path, name, room, existing)?;
        self.made.insert(parent.inode, name);
        self.left_out.remove(parent.inode, name);
        match &entry.kind {
            EntryKind::Directory => Ok(self.make_directory(&entry, &parent, room)?),
            EntryKind::Symlink { target } => Ok(make_symlink(&entry, &parent, target)?),
            EntryKind::Fifo => Ok(self.make_fifo(&entry, &parent)?),
            EntryKind::Device => self.leave_out(&parent, name),
            EntryKind::File { stored, sparse } => {
                let bytes = sparse.as_ref().map_or(*stored, |map| map.size);
                self.count_bytes(bytes)?;
                match body {
                    Body::Staged(content) => {
                        self.push(entry.path, &parent, Content::Staged(content))
                    }
                    Body::InArchive(members) if sparse.is_none() && bytes <= SMALL_FILE_BYTES => {
                        self.make_small_file(entry, &parent, members)
                    }
                    Body::InArchive(members) => self.make_large_file(&entry, &parent, members),
                }
            }
            // Made above.
            EntryKind::HardLink { .. } => Ok(()),
        }
    }

    /// Checks the limit of entries. Directories that names imply count as entries, since one name
    /// may imply thousands.
    fn limit_entries(&self) -> Result<(), Stop> {
        let limit = self.options.max_entries;
        if self.summary.entries + self.directories.implied() > limit {
            return Err(Stop::Limit(limit, "entries"));
        }
        Ok(())
    }

    fn count_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        self.summary.bytes = self.summary.bytes.saturating_add(bytes);
        match self.options.max_unpacked_bytes {
            Some(limit) if self.summary.bytes > limit => Err(Stop::Limit(limit, "bytes")),
            _ => Ok(()),
        }
    }

    fn make_directory(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        room: Room,
    ) -> Result<(), Failure> {
        let path = entry.path.as_bytes();
        let (_, name) = entry.path.split();
        let is_new = room != Room::Keep;
        if is_new {
            rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(entry.mode & 0o777))
                .map_err(Failure::at("create", path))?;
        }
        let directory = self.directories.enter(path, parent, name, is_new)?;
        self.set_directory(&directory, entry)
    }

    fn set_directory(&mut self, directory: &Directory, entry: &Entry) -> Result<(), Failure> {
        let path = entry.path.as_bytes();
        replace_xattrs(directory.fd.as_fd(), &entry.xattrs);
        // The mode cannot be told from the umask, since a directory may inherit setgid.
        let stat = rustix::fs::fstat(&directory.fd).map_err(Failure::at("read", path))?;
        if stat.st_mode & 0o7777 != entry.mode {
            rustix::fs::fchmod(&directory.fd, Mode::from_raw_mode(entry.mode))
                .map_err(Failure::at("set the mode of", path))?;
        }
        self.directories.set_mtime(directory, entry.mtime);
        Ok(())
    }

    fn make_small_file(
        &mut self,
        entry: Entry,
        parent: &Directory,
        members: &mut Members<'_, '_>,
    ) -> Result<(), Stop> {
        let mut slices = Vec::new();
        while let Some(slice) = members.content(usize::MAX)? {
            slices.push(slice);
        }
        let content = Content::Slices(slices, self.style.metadata(&entry));
        self.push(entry.path, parent, content)
    }

    fn push(&mut self, path: EntryPath, parent: &Directory, content: Content) -> Result<(), Stop> {
        Ok(self.writers.push(NewFile {
            directory: parent.fd.clone(),
            path,
            content,
        })?)
    }

    fn make_large_file(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        members: &mut Members<'_, '_>,
    ) -> Result<(), Stop> {
        let path = &entry.path;
        let (_, name) = path.split();
        let file = create_file(parent.fd.as_fd(), name, entry.mode, path)?;
        let sparse = match &entry.kind {
            EntryKind::File { sparse, .. } => sparse.as_ref(),
            _ => None,
        };
        write_content(file.as_fd(), path, sparse, members)?;
        Ok(self.style.metadata(entry).set(file.as_fd(), path)?)
    }

    fn make_fifo(&self, entry: &Entry, parent: &Directory) -> Result<(), Failure> {
        let path = entry.path.as_bytes();
        let (_, name) = entry.path.split();
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        rustix::fs::mknodat(&parent.fd, name, FileType::Fifo, mode, 0)
            .map_err(Failure::at("create", path))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fifo = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())
            .map_err(Failure::at("open", path))?;
        self.style.metadata(entry).set(fifo.as_fd(), &entry.path)
    }

    fn make_hard_link(
        &mut self,
        entry: &Entry,
        parent: Directory,
        target: &EntryPath,
    ) -> Result<(), Stop> {
        let path = entry.path.as_bytes();
        let (parent_path, name) = entry.path.split();
        let (target_parent, target_name) = target.split();
        let missing = || {
            let target = ShownPath::from(target.as_bytes());
            let message = format!("there is no '{target}' to link to");
            Failure::at("create", path)(io::Error::new(io::ErrorKind::NotFound, message))
        };
        let Some(directory) = self.directories.find(target_parent)? else {
            return Err(missing().into());
        };
        if self.made.contains(directory.inode, target_name) {
            self.writers.drain()?;
        }
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        let target_stat = match rustix::fs::statat(&directory.fd, target_name, no_follow) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) if self.left_out.contains(directory.inode, target_name) => None,
            Err(Errno::NOENT) => return Err(missing().into()),
            Err(error) => return Err(Failure::at("link to", target.as_bytes())(error).into()),
        };
        let existing = self.existing(&parent, parent_path, name)?;
        if let Some(target_stat) = &target_stat
            && existing != Existing::Nothing
            && let Ok(stat) = rustix::fs::statat(&parent.fd, name, no_follow)
            && (stat.st_dev, stat.st_ino) == (target_stat.st_dev, target_stat.st_ino)
        {
            // The name is such a link already.
            self.made.insert(parent.inode, name);
            return Ok(());
        }
        let room = room_for(&entry.kind, existing);
        let parent = self.make_room(parent, parent_path, name, room, existing)?;
        self.made.insert(parent.inode, name);
        if target_stat.is_none() {
            return self.leave_out(&parent, name);
        }
        self.left_out.remove(parent.inode, name);
        rustix::fs::linkat(
            &directory.fd,
            target_name,
            &parent.fd,
            name,
            AtFlags::empty(),
        )
        .map_err(|error| match error {
            Errno::NOENT => missing(),
            error => Failure::at("create", path)(error),
        })?;
        Ok(())
    }

    fn apply_whiteout(&mut self, parent_path: &[u8], name: &[u8]) -> Result<(), Failure> {
        let Some(parent) = self.directories.find(parent_path)? else {
            return Ok(());
        };
        let is_made = self.made.contains(parent.inode, name);
        let existing = self.existing(&parent, parent_path, name)?;
        if existing != Existing::Directory {
            if !is_made && existing != Existing::Nothing {
                self.make_room(parent, parent_path, name, Room::Unlink, existing)?;
            }
            return Ok(());
        }
        if is_made {
            let path = [parent_path, b"/", name].concat();
            return self.apply_opaque_whiteout(path.strip_prefix(b"/").unwrap_or(&path));
        }
        let parent = self.reopen(parent_path)?;
        let at = |failure: Failure| below(parent_path, failure);
        let name = c_name(name).map_err(at)?;
        let keep = |inode: u64, name: &CStr| self.made.contains(inode, name.to_bytes());
        remove_at(parent.fd.as_fd(), &name, &keep, &mut self.emptied).map_err(at)
    }

    fn apply_opaque_whiteout(&mut self, path: &[u8]) -> Result<(), Failure> {
        match self.directories.find(path)? {
            Some(directory) if !directory.is_fresh && !self.emptied.contains(&directory.inode) => {}
            _ => return Ok(()),
        }
        let directory = self.reopen(path)?;
        let own = open_directory(directory.fd.as_fd(), c".").map_err(Failure::at("open", path))?;
        let keep = |inode: u64, name: &CStr| self.made.contains(inode, name.to_bytes());
        empty_directory(own, &keep, &mut self.emptied).map_err(|failure| below(path, failure))?;
        Ok(())
    }

    /// Notes a device node, or a link to one, that is not made.
    fn leave_out(&mut self, parent: &Directory, name: &[u8]) -> Result<(), Stop> {
        self.left_out.insert(parent.inode, name);
        if self.left_out.keys.len() > MAX_DEVICES {
            return Err(Stop::Limit(MAX_DEVICES as u64, "device nodes"));
        }
        self.summary.skipped_devices += 1;
        Ok(())
    }

    /// Finds out what has `name` in `parent` now.
    fn existing(
        &mut self,
        parent: &Directory,
        parent_path: &[u8],
        name: &[u8],
    ) -> Result<Existing, Failure> {
        if self.made.contains(parent.inode, name) {
            self.writers.drain()?;
        } else if parent.is_fresh {
            return Ok(Existing::Nothing);
        }
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Existing::Directory,
                FileType::Symlink => Existing::Symlink,
                _ => Existing::Other,
            }),
            Err(Errno::NOENT) => Ok(Existing::Nothing),
            Err(error) => Err(below(parent_path, Failure::at("look up", name)(error))),
        }
    }

    /// Removes what has `name` in `parent`, as `room` says. Returns `parent`, which may have been
    /// opened again.
    fn make_room(
        &mut self,
        parent: Directory,
        parent_path: &[u8],
        name: &[u8],
        room: Room,
        existing: Existing,
    ) -> Result<Directory, Failure> {
        match room {
            Room::Free | Room::Keep => return Ok(parent),
            Room::Unlink => {
                if existing == Existing::Symlink {
                    self.directories.forget_links();
                }
                rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty())
                    .map_err(|error| below(parent_path, Failure::at("replace", name)(error)))?;
                return Ok(parent);
            }
            Room::RemoveTree => {}
        }
        let parent = self.reopen(parent_path)?;
        let at = |failure: Failure| below(parent_path, failure);
        let name = c_name(name).map_err(at)?;
        remove_at(
            parent.fd.as_fd(),
            &name,
            &|_, _| false,
            &mut Emptied::default(),
        )
        .map_err(at)?;
        Ok(parent)
    }

    /// Closes all directories, since some may be removed next, and opens the one at `path`.
    fn reopen(&mut self, path: &[u8]) -> Result<Directory, Failure> {
        self.writers.drain()?;
        self.directories.close_all()?;
        self.parent(path)
    }

    fn parent(&mut self, path: &[u8]) -> Result<Directory, Failure> {
        if let Some(near) = self.directories.find_near(path)? {
            return Ok(near);
        }
        // A writer may still have to make a file on the way.
        self.writers.drain()?;
        self.directories
            .find_far(path, Missing::Make)?
            .ok_or_else(|| Failure::at("open the directory", path)(Errno::NOENT))
    }
}

/// Reads the next member of an archive, made safe.
pub(super) fn next_entry(members: &mut Members<'_, '_>) -> Result<Option<Entry>, Stop> {
    let Some(member) = members.next()? else {
        return Ok(None);
    };
    let name = member.path.clone();
    let entry = Entry::new(member).map_err(|error| Stop::Entry(name, error))?;
    Ok(Some(entry))
}

fn make_symlink(entry: &Entry, parent: &Directory, target: &[u8]) -> Result<(), Failure> {
    let path = entry.path.as_bytes();
    let (_, name) = entry.path.split();
    rustix::fs::symlinkat(target, &parent.fd, name).map_err(Failure::at("create", path))?;
    let times = modified_at(entry.mtime);
    rustix::fs::utimensat(&parent.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Failure::at("set the time of", path))
}

/// Puts a directory before the path of a failure.
fn below(directory: &[u8], mut failure: Failure) -> Failure {
    if !directory.is_empty() {
        failure.path = [directory, b"/", &failure.path].concat();
    }
    failure
}

fn c_name(name: &[u8]) -> Result<CString, Failure> {
    CString::new(name).map_err(|_| Failure::at("open", name)(Errno::INVAL))
}
