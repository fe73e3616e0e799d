//! File attributes that emulated root has set and the host cannot store: owners, modes that deny
//! the owner access, and devices.
//!
//! PRoot appends a line for each change to a file beside the tree (`--attributes`, see
//! `vendor-proot/README.md`); the last line of an inode counts:
//!
//! ```text
//! inode birth-seconds.birth-nanoseconds uid gid mode host-mode device
//! ```
//! Both modes are octal and include the file's type. `mode` holds as long as the host's mode is
//! `host-mode`. The time of birth tells a file from an earlier one with the same inode. Other lines
//! are skipped: one cut short by a kill, and `born …`, which is for PRoot only.

use std::ffi::CStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Stat, StatxFlags, statx};

use super::walk::Found;
use crate::host::fs::{FsError, open_regular};

/// The longest line that is read; the longest numbers take less.
const LINE_MAX_BYTES: u64 = 256;

/// The number of records at which superseded ones are dropped for the first time.
const LEAST_BATCH: usize = 1 << 12;

const TYPE_BITS: u32 = 0o170_000;

const NANOSECONDS: i64 = 1_000_000_000;

/// The attributes that emulated root has given to files of a tree.
#[derive(Debug, Default)]
pub struct Attributes {
    /// Sorted by inode, one for each. There may be a million, so they are small.
    records: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    inode: u64,
    /// Nanoseconds since 1970.
    birth: i64,
    uid: u32,
    gid: u32,
    device: u32,
    mode: u16,
    host_mode: u16,
}

/// How a file appears to emulated root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The mode with the file's type, which may be a device.
    pub(super) mode: u32,
    /// The device number, if it is a device.
    pub(super) device: u64,
}

impl Attributes {
    /// Reads the attributes kept at `path`; there are none if it does not exist. The memory grows
    /// with the number of files in it, not with the number of their changes.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn load(path: &Path) -> Result<Attributes, FsError> {
        match open_regular(path) {
            Ok(file) => Attributes::read(BufReader::new(file)).map_err(FsError::at("read", path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Attributes::default()),
            Err(error) => Err(FsError::at("open", path)(error)),
        }
    }

    fn read(mut source: impl BufRead) -> io::Result<Attributes> {
        let mut attributes = Attributes::default();
        let mut limit = LEAST_BATCH;
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = source.by_ref().take(LINE_MAX_BYTES);
            if limited.read_until(b'\n', &mut line)? == 0 {
                attributes.keep_last();
                return Ok(attributes);
            }
            let is_cut = limited.limit() == 0 && !line.ends_with(b"\n");
            if is_cut {
                source.skip_until(b'\n')?;
                continue;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let record = str::from_utf8(text).ok().and_then(Record::parse);
            attributes.records.extend(record);
            if attributes.records.len() >= limit {
                attributes.keep_last();
                limit = LEAST_BATCH.max(2 * attributes.records.len());
            }
        }
    }

    /// Sorts the records, and keeps the last one of each inode.
    fn keep_last(&mut self) {
        // The sort is stable, so that the last one comes first.
        self.records.reverse();
        self.records.sort_by_key(|record| record.inode);
        self.records.dedup_by_key(|record| record.inode);
    }

    fn of_inode(&self, inode: u64) -> Option<&Record> {
        let found = self
            .records
            .binary_search_by_key(&inode, |record| record.inode);
        Some(&self.records[found.ok()?])
    }

    /// The record of a file.
    fn record_of(&self, found: &Found<'_>) -> Option<Record> {
        let record = self.of_inode(found.stat.st_ino)?;
        let birth = birth_of(found.parent, found.name)?;
        (record.birth == birth).then_some(*record)
    }

    /// Whether a file may have a record; without asking for its time of birth.
    pub(super) fn may_have(&self, found: &Found<'_>) -> bool {
        self.of_inode(found.stat.st_ino).is_some()
    }

    /// How a file appears. One without a record belongs to root: whose files they are on this host
    /// is nobody's business elsewhere.
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

    /// Writes a line to `out` for the copy of a file, which has the same name in `parent`, if the
    /// original has a record.
    pub(super) fn write_copy(
        &self,
        found: &Found<'_>,
        parent: BorrowedFd<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(record) = self.record_of(found) else {
            return Ok(());
        };
        let stat = rustix::fs::statat(parent, found.name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(stat), Some(birth)) = (stat, birth_of(parent, found.name)) {
            let inode = stat.st_ino;
            let copy = Record {
                inode,
                birth,
                ..record
            };
            copy.write(out)?;
        }
        Ok(())
    }
}

impl Record {
    fn shown(&self, stat: &Stat) -> Shown {
        let mode = u32::from(self.mode);
        let mode = if u32::from(self.host_mode) == stat.st_mode {
            mode
        } else {
            mode & TYPE_BITS | stat.st_mode & !TYPE_BITS
        };
        Shown {
            uid: self.uid,
            gid: self.gid,
            mode,
            device: self.device.into(),
        }
    }

    fn parse(line: &str) -> Option<Record> {
        let mut words = line.split(' ');
        let inode = words.next()?.parse().ok()?;
        let (seconds, nanoseconds) = words.next()?.split_once('.')?;
        let record = Record {
            inode,
            birth: nanoseconds_of(seconds.parse().ok()?, nanoseconds.parse().ok()?)?,
            uid: words.next()?.parse().ok()?,
            gid: words.next()?.parse().ok()?,
            mode: u16::from_str_radix(words.next()?, 8).ok()?,
            host_mode: u16::from_str_radix(words.next()?, 8).ok()?,
            device: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(record)
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Record {
            inode,
            birth,
            uid,
            gid,
            device,
            mode,
            host_mode,
        } = self;
        let seconds = birth.div_euclid(NANOSECONDS);
        let nanoseconds = birth.rem_euclid(NANOSECONDS);
        writeln!(
            out,
            "{inode} {seconds}.{nanoseconds} {uid} {gid} {mode:o} {host_mode:o} {device}"
        )
    }
}

/// The time of a file's birth, where the file system keeps it.
fn birth_of(parent: BorrowedFd<'_>, name: &CStr) -> Option<i64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let status = statx(parent, name, flags, StatxFlags::BTIME).ok()?;
    if status.stx_mask & StatxFlags::BTIME.bits() == 0 {
        return None;
    }
    nanoseconds_of(status.stx_btime.tv_sec, status.stx_btime.tv_nsec)
}

fn nanoseconds_of(seconds: i64, nanoseconds: u32) -> Option<i64> {
    seconds
        .checked_mul(NANOSECONDS)?
        .checked_add(nanoseconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Attributes {
        Attributes::read(text.as_bytes()).unwrap()
    }

    fn inodes(attributes: &Attributes) -> Vec<u64> {
        let records = attributes.records.iter();
        records.map(|record| record.inode).collect()
    }

    #[test]
    fn lines_that_are_too_long_are_skipped_to_their_end() {
        let record = "7 5.1 1 2 100600 100600 0";
        let most = LINE_MAX_BYTES as usize;
        for length in [most - 1, most, most + 1, 3 * most] {
            let garbage = "x".repeat(length);
            let text = format!("{garbage}{record}\n8{}\n{garbage}\n", &record[1..]);
            assert_eq!(inodes(&parse(&text)), [8], "{length}");
        }
        let longest = "18446744073709551615 -9223372036.999999999 4294967295 4294967295 177777 \
             177777 4294967295\n";
        assert_eq!(inodes(&parse(longest)), [u64::MAX]);
        let mut bytes = b"\xff\n".to_vec();
        bytes.extend(record.bytes());
        assert_eq!(inodes(&Attributes::read(&bytes[..]).unwrap()), [7]);
    }

    #[test]
    fn the_last_line_of_an_inode_counts_and_damaged_lines_do_not() {
        let text = "born 4.000000002\n\
                    7 5.000000001 1 2 100600 100600 0\n\
                    8 -5.0 0 0 20660 100660 1089\n\
                    7 6.9 3 4 100000 100600 0\n\
                    9 1.2 3\n\n\
                    ten 1.2 3 4 100600 100600 0\n\
                    7 5.1 1 2 100600 100600 0 more\n";
        let parsed = parse(text);
        assert_eq!(inodes(&parsed), [7, 8]);
        let record = parsed.of_inode(7).unwrap();
        let birth = 6 * NANOSECONDS + 9;
        assert_eq!((record.birth, record.uid, record.gid), (birth, 3, 4));
        let record = parsed.of_inode(8).unwrap();
        assert_eq!((record.birth, record.device), (-5 * NANOSECONDS, 1089));
        assert_eq!(parsed.of_inode(9), None);
    }

    #[test]
    fn changes_of_few_files_take_little_memory() {
        let text: String = (0..100_000)
            .map(|change| format!("{} 5.1 {change} 2 100600 100600 0\n", change % 10))
            .collect();
        let parsed = parse(&text);
        assert_eq!(inodes(&parsed), Vec::from_iter(0..10));
        assert!(parsed.records.capacity() <= 2 * LEAST_BATCH);
        assert_eq!(parsed.of_inode(3).unwrap().uid, 99_993);
    }

    #[test]
    fn written_records_are_read_back() {
        let text = "1 -3.999999999 4 5 6 7 8\n7 5.1 1 2 104000 104600 9\n";
        let mut written = Vec::new();
        for record in parse(text).records {
            record.write(&mut written).unwrap();
        }
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }
}
