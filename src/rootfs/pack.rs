//! A tree as a tar archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::descent::OPEN_DIRECTORY;
use super::error::{Failure, RootfsError};
use super::walk::{Found, Visitor, open_to_read, runs_of, walk, xattrs_of};
use crate::host::fs::FsError;
use crate::stream::{TarAttributes, TarKind, TarWriter};

/// Files up to this size are read at once; for larger ones the system copies by itself.
const SMALL_FILE_BYTES: u64 = 128 * 1024;

/// Prefix of PAX records that hold extended attributes.
///
/// Source: the manual of `star`, "SCHILY.xattr"; GNU tar and Docker write the same.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What the names of members begin with, and the name of the first.
const TOP: &[u8] = b"./";

/// Writes everything in the directory `root` to `out` as a tar archive, in the order of names.
/// These begin with `./`, as in the archives of udocker.py, so that who takes out one file by its
/// name finds it.
///
/// Hard links stay links, holes stay holes, and everything belongs to root. Sockets are left
/// out, and so is what other file systems hold that are mounted in the tree.
///
/// # Errors
/// Something cannot be read, or `out` cannot be written.
pub fn pack_tree<W: Write>(root: &Path, out: W) -> Result<W, RootfsError> {
    let open = || -> io::Result<_> {
        let top = rustix::fs::open(root, OPEN_DIRECTORY, Mode::empty())?;
        let stat = rustix::fs::fstat(&top)?;
        Ok((top, stat))
    };
    let (top, stat) = open().map_err(FsError::at("open", root))?;
    let mut packer = Packer {
        writer: TarWriter::new(out),
        linked: HashMap::new(),
    };
    let attributes = attributes_of(&stat, Some(top.as_fd()));
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

struct Packer<W> {
    writer: TarWriter<W>,
    /// The first member of a file with several names, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Visitor for Packer<W> {
    type Error = Stop;

    fn enter(&mut self, found: &Found<'_>, directory: BorrowedFd<'_>) -> Result<(), Stop> {
        let attributes = attributes_of(&found.stat, Some(directory));
        let name = [TOP, found.path, b"/"].concat();
        self.writer
            .member(&name, TarKind::Directory, &attributes)
            .map_err(Stop::Output)
    }

    fn leaf(&mut self, found: &Found<'_>) -> Result<(), Stop> {
        let stat = &found.stat;
        let name = [TOP, found.path].concat();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&id) {
                return self
                    .writer
                    .member(&name, TarKind::HardLink(first), &attributes_of(stat, None))
                    .map_err(Stop::Output);
            }
            self.linked.insert(id, name.clone());
        }
        match kind {
            FileType::RegularFile => self.file(found, &name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())
                    .map_err(Failure::at("read link", found.path))?;
                self.writer
                    .member(
                        &name,
                        TarKind::Symlink(target.as_bytes()),
                        &attributes_of(stat, None),
                    )
                    .map_err(Stop::Output)
            }
            FileType::Fifo => self
                .writer
                .member(&name, TarKind::Fifo, &attributes_of(stat, None))
                .map_err(Stop::Output),
            // Sockets mean nothing without their process, and nobody here can make devices.
            _ => Ok(()),
        }
    }

    fn leave(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

impl<W: Write> Packer<W> {
    fn file(&mut self, found: &Found<'_>, name: &[u8]) -> Result<(), Stop> {
        let opened =
            open_to_read(found, OFlags::RDONLY).map_err(Failure::at("open", found.path))?;
        let mut file = File::from(opened);
        let attributes = attributes_of(&found.stat, Some(file.as_fd()));
        let size = u64::try_from(found.stat.st_size).unwrap_or(0);
        let runs = runs_of(file.as_fd(), &found.stat).map_err(Failure::at("read", found.path))?;
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

/// While the system copies, only the cause tells which side failed.
fn stop(found: &Found<'_>, error: io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Stop::Failure(Failure::at("read", found.path)(error)),
        _ => Stop::Output(error),
    }
}

/// Part of a file.
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

fn attributes_of(stat: &Stat, file: Option<BorrowedFd<'_>>) -> TarAttributes {
    let records = file
        .map(xattrs_of)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| ([XATTR_PREFIX, &name].concat(), value))
        .collect();
    TarAttributes {
        mode: stat.st_mode & 0o7777,
        mtime: stat.st_mtime,
        records,
    }
}
