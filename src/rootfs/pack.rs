//! Writing a tree as a tar archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, major, minor};

use super::attributes::{Attributes, Shown};
use super::data_runs::list_runs;
use super::dir_stack::OPEN_DIRECTORY;
use super::error::{Failure, RootfsError};
use super::hard_links::HardLinks;
use super::tar::MAX_SEGMENTS;
use super::walk::{Found, Visitor, open_to_read, walk};
use super::xattrs::xattrs_of;
use crate::host::fs::FsError;
use crate::stream::{DeviceNumber, TarAttributes, TarKind, TarWriter};

/// Files up to this size are read at once; the kernel copies larger ones.
const SMALL_FILE_BYTES: u64 = 128 * 1024;

/// Prefix of PAX records that hold extended attributes.
///
/// Source: the manual of `star`, "SCHILY.xattr"; GNU tar and Docker write the same.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// The name of the first member, and the beginning of all other names.
const TOP: &[u8] = b"./";

/// Writes everything in the directory `root` to `out` as a tar archive, in the order of names.
/// Names begin with `./`, as in archives of udocker.py, for scripts that extract a file by its
/// name.
///
/// Hard links stay links, and holes stay holes. Files belong to root unless `attributes` have
/// another owner. Sockets are left out, and so is the content of directories at which something is
/// mounted.
///
/// # Errors
/// A file cannot be read, or `out` cannot be written.
pub fn pack_tree<W: Write>(root: &Path, attributes: &Attributes, out: W) -> Result<W, RootfsError> {
    let open = || -> io::Result<_> {
        let top = rustix::fs::open(root, OPEN_DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&top)?;
        Ok((top, stat))
    };
    let (top, stat) = open().map_err(FsError::at("open", root))?;
    let mut packer = Packer {
        writer: TarWriter::new(out),
        attributes,
        linked: HardLinks::default(),
    };
    let found = Found {
        parent: top.as_fd(),
        name: c".",
        path: b"",
        stat,
    };
    let attributes = packer.attributes_of(&found, Some(top.as_fd()));
    packer
        .writer
        .member(TOP, TarKind::Directory, &attributes)
        .map_err(RootfsError::Output)?;
    match walk(top, &mut packer) {
        Ok(()) => packer.writer.finish().map_err(RootfsError::Output),
        Err(Stop::Output(error)) => Err(RootfsError::Output(error)),
        Err(Stop::Failure(failure)) => Err(failure.below(root)),
    }
}

enum Stop {
    Failure(Failure),
    Output(io::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

struct Packer<'a, W> {
    writer: TarWriter<W>,
    attributes: &'a Attributes,
    linked: HardLinks,
}

impl<W: Write> Visitor for Packer<'_, W> {
    type Error = Stop;

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Stop> {
        let attributes = self.attributes_of(found, Some(directory));
        let name = [TOP, found.path, b"/"].concat();
        self.writer
            .member(&name, TarKind::Directory, &attributes)
            .map_err(Stop::Output)
    }

    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Stop> {
        let stat = &found.stat;
        let name = [TOP, found.path].concat();
        let shown = self.attributes.shown(found);
        if let Some(first) = self.linked.first_path(stat) {
            let link = TarKind::HardLink(&first);
            let attributes = attributes_of(shown, stat, None);
            let member = self.writer.member(&name, link, &attributes);
            return member.map_err(Stop::Output);
        }
        if self.pack(found, shown, &name)? {
            self.linked.add(stat, &name);
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

impl<W: Write> Packer<'_, W> {
    fn attributes_of(&self, found: &Found<'_>, file: Option<BorrowedFd<'_>>) -> TarAttributes {
        attributes_of(self.attributes.shown(found), &found.stat, file)
    }

    /// Packs a file that is not in the archive yet, and returns whether it is now.
    fn pack(&mut self, found: &Found<'_>, shown: Shown, name: &[u8]) -> Result<bool, Stop> {
        let target;
        let kind = match FileType::from_raw_mode(shown.mode) {
            FileType::RegularFile => {
                self.pack_regular(found, name)?;
                return Ok(true);
            }
            FileType::Symlink => {
                target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())
                    .map_err(Failure::at("read link", found.path))?;
                TarKind::Symlink(target.as_bytes())
            }
            FileType::Fifo => TarKind::Fifo,
            FileType::CharacterDevice if shown.device != 0 => {
                TarKind::CharacterDevice(number_of(shown.device))
            }
            FileType::BlockDevice if shown.device != 0 => {
                TarKind::BlockDevice(number_of(shown.device))
            }
            // A socket is of no use without its process, and a device of the host is not part of
            // the tree.
            _ => return Ok(false),
        };
        let attributes = attributes_of(shown, &found.stat, None);
        let member = self.writer.member(name, kind, &attributes);
        member.map_err(Stop::Output)?;
        Ok(true)
    }

    fn pack_regular(&mut self, found: &Found<'_>, name: &[u8]) -> Result<(), Stop> {
        let (opened, _added) =
            open_to_read(found, OFlags::RDONLY).map_err(Failure::at("open", found.path))?;
        let mut file = File::from(opened);
        let attributes = self.attributes_of(found, Some(file.as_fd()));
        let size = u64::try_from(found.stat.st_size).unwrap_or(0);
        let runs = list_runs(file.as_fd(), &found.stat, MAX_SEGMENTS)
            .map_err(Failure::at("read", found.path))?;
        if let Some(runs) = runs {
            let run = |(offset, length)| {
                Ok(Range {
                    file: &file,
                    offset,
                    left: length,
                })
            };
            return self
                .writer
                .sparse_file(name, &attributes, size, &runs, run)
                .map_err(|error| stop(found, error));
        }
        if size <= SMALL_FILE_BYTES {
            let mut bytes = Vec::with_capacity(size as usize + 1);
            (&file)
                .take(size)
                .read_to_end(&mut bytes)
                .map_err(Failure::at("read", found.path))?;
            return self
                .writer
                .small_file(name, &attributes, &bytes)
                .map_err(Stop::Output);
        }
        self.writer
            .member(name, TarKind::File(size), &attributes)
            .map_err(Stop::Output)?;
        self.writer
            .content(&mut file, size)
            .map_err(|error| stop(found, error))
    }
}

fn number_of(device: u64) -> DeviceNumber {
    DeviceNumber {
        major: major(device),
        minor: minor(device),
    }
}

/// Tells by the kind of an error whether reading or writing failed, when the kernel copies.
fn stop(found: &Found<'_>, error: io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Stop::Failure(Failure::at("read", found.path)(error)),
        _ => Stop::Output(error),
    }
}

/// A reader of part of a file.
struct Range<'f> {
    file: &'f File,
    offset: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..limit], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

fn attributes_of(shown: Shown, stat: &Stat, file: Option<BorrowedFd<'_>>) -> TarAttributes {
    let records = file
        .map(xattrs_of)
        .unwrap_or_default()
        .into_iter()
        // In a PAX record, this byte ends the key.
        .filter(|(name, _)| !name.contains(&b'='))
        .map(|(name, value)| ([XATTR_PREFIX, &name].concat(), value))
        .collect();
    TarAttributes {
        mode: shown.mode & 0o7777,
        uid: shown.uid,
        gid: shown.gid,
        mtime: stat.st_mtime,
        records,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::XattrFlags;

    use super::*;

    #[test]
    fn an_attribute_that_no_record_can_name_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for name in ["user.a=b", "user.c"] {
            let set = rustix::fs::setxattr(&file, name, b"value", XattrFlags::empty());
            if set.is_err() {
                // The file system has no extended attributes.
                return;
            }
        }
        let packed = pack_tree(directory.path(), &Attributes::default(), Vec::new()).unwrap();
        let mut archive = tar::Archive::new(&packed[..]);
        let mut keys = Vec::new();
        for entry in archive.entries().unwrap() {
            for extension in entry
                .unwrap()
                .pax_extensions()
                .unwrap()
                .into_iter()
                .flatten()
            {
                keys.push(extension.unwrap().key().unwrap().to_string());
            }
        }
        assert_eq!(keys, ["SCHILY.xattr.user.c"]);
    }
}
