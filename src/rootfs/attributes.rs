//! What emulated root has made of files that the host does not know: owners, modes that would
//! keep the files' owner out, devices.
//!
//! PRoot appends a line for each change to a file beside the tree (`--attributes`, see
//! `vendor-proot/README.md`); for one inode the last line counts:
//!
//! ```text
//! inode birth-seconds.birth-nanoseconds uid gid mode host-mode device
//! ```
//! Both modes are octal and hold the file's type. `mode` is shown as long as the host's is
//! `host-mode`. The time of birth tells a file from an earlier one with the same inode.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Stat, StatxFlags, statx};

use super::walk::Found;
use crate::host::fs::{FsError, open_regular, write_atomic};

/// More than the numbers of a line can have.
const LINE_MAX_BYTES: u64 = 256;

const TYPE_BITS: u32 = 0o170_000;

/// The attributes that emulated root has given to files of a tree, by inode.
#[derive(Debug, Default)]
pub struct Attributes {
    by_inode: HashMap<u64, Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    birth: Birth,
    uid: u32,
    gid: u32,
    mode: u32,
    host_mode: u32,
    device: u64,
}

/// Seconds since 1970, and nanoseconds.
type Birth = (i64, u32);

/// What a file appears as to emulated root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// With the type, which may be a device's.
    pub(super) mode: u32,
    /// The device number, where it is a device.
    pub(super) device: u64,
}

impl Attributes {
    /// Reads what is kept at `path`; nothing is known where that does not exist. It takes as much
    /// memory as there are files in it, however often they were changed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(path: &Path) -> Result<Attributes, FsError> {
        match open_regular(path) {
            Ok(file) => Attributes::read(BufReader::new(file)).map_err(FsError::at("read", path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Attributes::default()),
            Err(error) => Err(FsError::at("open", path)(error)),
        }
    }

    /// Writes them to `path`, one line for each file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> Result<(), FsError> {
        let mut text = String::new();
        for (inode, record) in &self.by_inode {
            let Record {
                birth: (seconds, nanoseconds),
                uid,
                gid,
                mode,
                host_mode,
                device,
            } = record;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{inode} {seconds}.{nanoseconds} {uid} {gid} {mode:o} {host_mode:o} {device}"
            );
        }
        write_atomic(path, text.as_bytes(), 0o600)
    }

    fn read(mut source: impl BufRead) -> io::Result<Attributes> {
        let mut attributes = Attributes::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = source.by_ref().take(LINE_MAX_BYTES);
            if limited.read_until(b'\n', &mut line)? == 0 {
                return Ok(attributes);
            }
            let is_cut = limited.limit() == 0 && !line.ends_with(b"\n");
            if is_cut {
                source.skip_until(b'\n')?;
                continue;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let record = str::from_utf8(text).ok().and_then(parse_line);
            attributes.by_inode.extend(record);
        }
    }

    /// What is kept of a file.
    fn record_of(&self, found: &Found<'_>) -> Option<Record> {
        let record = self.by_inode.get(&found.stat.st_ino)?;
        let birth = birth_of(found.parent, found.name)?;
        (record.birth == birth).then_some(*record)
    }

    /// Whether something may be kept of a file: nothing is of those for which this says no.
    pub(super) fn may_have(&self, found: &Found<'_>) -> bool {
        self.by_inode.contains_key(&found.stat.st_ino)
    }

    /// What a file appears as. What is not known belongs to root: whose files they are on this
    /// host is nobody's business elsewhere.
    pub(super) fn shown(&self, found: &Found<'_>) -> Shown {
        match self.record_of(found) {
            Some(record) => record.shown(&found.stat),
            None => Shown {
                uid: 0,
                gid: 0,
                mode: found.stat.st_mode,
                device: 0,
            },
        }
    }

    /// Gives the copy of a file, called `name` in `parent`, what is kept of the original.
    pub(super) fn copy_to(
        &self,
        found: &Found<'_>,
        parent: BorrowedFd<'_>,
        copies: &mut Attributes,
    ) {
        let Some(record) = self.record_of(found) else {
            return;
        };
        let inode = rustix::fs::statat(parent, found.name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(stat), Some(birth)) = (inode, birth_of(parent, found.name)) {
            let copy = Record { birth, ..record };
            copies.by_inode.insert(stat.st_ino, copy);
        }
    }
}

impl Record {
    fn shown(&self, stat: &Stat) -> Shown {
        let mode = if self.host_mode == stat.st_mode {
            self.mode
        } else {
            self.mode & TYPE_BITS | stat.st_mode & !TYPE_BITS
        };
        Shown {
            uid: self.uid,
            gid: self.gid,
            mode,
            device: self.device,
        }
    }
}

fn parse_line(line: &str) -> Option<(u64, Record)> {
    let mut words = line.split(' ');
    let inode = words.next()?.parse().ok()?;
    let (seconds, nanoseconds) = words.next()?.split_once('.')?;
    let record = Record {
        birth: (seconds.parse().ok()?, nanoseconds.parse().ok()?),
        uid: words.next()?.parse().ok()?,
        gid: words.next()?.parse().ok()?,
        mode: u32::from_str_radix(words.next()?, 8).ok()?,
        host_mode: u32::from_str_radix(words.next()?, 8).ok()?,
        device: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some((inode, record))
}

/// When a file was made, where the file system keeps that.
fn birth_of(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Option<Birth> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let status = statx(parent, name, flags, StatxFlags::BTIME).ok()?;
    let known = status.stx_mask & StatxFlags::BTIME.bits() != 0;
    known.then_some((status.stx_btime.tv_sec, status.stx_btime.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Attributes {
        Attributes::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_of_any_length_is_no_obstacle_and_none_begins_inside() {
        let record = "7 5.1 1 2 100600 100600 0";
        let most = LINE_MAX_BYTES as usize;
        for length in [most - 1, most, most + 1, 3 * most] {
            let garbage = "x".repeat(length);
            let text = format!("{garbage}{record}\n8{}\n{garbage}\n", &record[1..]);
            let inodes: Vec<u64> = parse(&text).by_inode.into_keys().collect();
            assert_eq!(inodes, [8], "{length}");
        }
        let longest = "18446744073709551615 -9223372036854775808.4294967295 4294967295 4294967295 \
             37777777777 37777777777 18446744073709551615\n";
        assert_eq!(parse(longest).by_inode.len(), 1);
        let mut bytes = b"\xff\n".to_vec();
        bytes.extend(record.bytes());
        assert_eq!(Attributes::read(&bytes[..]).unwrap().by_inode.len(), 1);
    }

    #[test]
    fn the_last_line_of_an_inode_counts_and_damaged_ones_do_not() {
        let text = "7 5.000000001 1 2 100600 100600 0\n\
                    8 -5.0 0 0 20660 100660 1089\n\
                    7 6.9 3 4 100000 100600 0\n\
                    9 1.2 3\n\n\
                    ten 1.2 3 4 100600 100600 0\n\
                    7 5.1 1 2 100600 100600 0 more\n";
        let parsed = parse(text);
        assert_eq!(parsed.by_inode.len(), 2);
        let record = parsed.by_inode[&7];
        assert_eq!((record.birth, record.uid, record.gid), ((6, 9), 3, 4));
        assert_eq!(parsed.by_inode[&8].device, 1089);
        assert_eq!(parsed.by_inode[&8].birth, (-5, 0));
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("attributes");
        assert!(Attributes::load(&path).unwrap().by_inode.is_empty());
        let one = parse("7 5.1 1 2 104000 104600 9\n1 2.3 4 5 6 7 8\n");
        one.save(&path).unwrap();
        let other = Attributes::load(&path).unwrap();
        assert_eq!(one.by_inode, other.by_inode);
    }
}
