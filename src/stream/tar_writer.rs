//! A writer of tar archives.
//!
//! Headers have the ustar format; what does not fit into them (long names, large sizes and ids,
//! early times, extended attributes) goes into PAX records.
//!
//! Sources: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Interchange Format"; the GNU
//! tar manual, "Storing Sparse Files", PAX format 1.0.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;
const NAME_BYTES: usize = 100;

/// The largest number that seven octal digits hold.
const SHORT_OCTAL_MAX: u32 = (1 << 21) - 1;

/// The largest number that eleven octal digits hold.
const OCTAL_MAX: u64 = (1 << 33) - 1;

/// The type of a member, with what only this type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarKind<'a> {
    /// A regular file with this number of bytes of content, which have to follow.
    File(u64),
    /// Another name of an earlier member.
    HardLink(&'a [u8]),
    /// A symbolic link.
    Symlink(&'a [u8]),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

/// The number of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceNumber {
    /// The number of the driver.
    pub major: u32,
    /// The number of the device within the driver.
    pub minor: u32,
}

/// The attributes of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarAttributes {
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The mtime in seconds since 1970.
    pub mtime: i64,
    /// Further PAX records, such as extended attributes.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The offset and length of a run of data in a sparse file.
pub type Run = (u64, u64);

/// Writes an archive, which [`TarWriter::finish`] has to complete.
pub struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> TarWriter<W> {
        TarWriter { out }
    }

    /// Begins a member. The content of a file has to be written next, with [`TarWriter::content`].
    ///
    /// # Errors
    /// Errors of the output.
    pub fn member(
        &mut self,
        path: &[u8],
        kind: TarKind<'_>,
        attributes: &TarAttributes,
    ) -> io::Result<()> {
        let mut records = attributes.records.clone();
        let no_device = DeviceNumber::default();
        let (flag, link, size, device) = match kind {
            TarKind::File(size) => (b'0', &b""[..], size, no_device),
            TarKind::HardLink(target) => (b'1', target, 0, no_device),
            TarKind::Symlink(target) => (b'2', target, 0, no_device),
            TarKind::Directory => (b'5', &b""[..], 0, no_device),
            TarKind::Fifo => (b'6', &b""[..], 0, no_device),
            TarKind::CharacterDevice(device) => (b'3', &b""[..], 0, device),
            TarKind::BlockDevice(device) => (b'4', &b""[..], 0, device),
        };
        if path.len() > NAME_BYTES {
            records.push((b"path".to_vec(), path.to_vec()));
        }
        if link.len() > NAME_BYTES {
            records.push((b"linkpath".to_vec(), link.to_vec()));
        }
        if size > OCTAL_MAX {
            records.push((b"size".to_vec(), size.to_string().into_bytes()));
        }
        let mtime = u64::try_from(attributes.mtime).unwrap_or(0);
        if attributes.mtime < 0 || mtime > OCTAL_MAX {
            let text = attributes.mtime.to_string();
            records.push((b"mtime".to_vec(), text.into_bytes()));
        }
        for (key, id) in [(&b"uid"[..], attributes.uid), (b"gid", attributes.gid)] {
            if id > SHORT_OCTAL_MAX {
                records.push((key.to_vec(), id.to_string().into_bytes()));
            }
        }
        if !records.is_empty() {
            let bytes = pax_records(&records);
            let header = Header {
                path: b"PaxHeaders/member",
                flag: b'x',
                link: b"",
                size: bytes.len() as u64,
                device: no_device,
                attributes: &TarAttributes {
                    mode: 0o644,
                    ..TarAttributes::default()
                },
            }
            .block();
            self.out.write_all(&header)?;
            self.out.write_all(&bytes)?;
            self.pad(bytes.len() as u64)?;
        }
        let header = Header {
            path,
            flag,
            link,
            size,
            device,
            attributes,
        }
        .block();
        self.out.write_all(&header)
    }

    /// Writes a file whose content is in memory.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn small_file(
        &mut self,
        path: &[u8],
        attributes: &TarAttributes,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.member(path, TarKind::File(bytes.len() as u64), attributes)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Writes the content of the member that was begun: `size` bytes of `source`.
    ///
    /// # Errors
    /// Errors of `source` and of the output; `UnexpectedEof` if `source` has fewer bytes.
    pub fn content(&mut self, source: &mut impl Read, size: u64) -> io::Result<()> {
        copy_exactly(source, &mut self.out, size)?;
        self.pad(size)
    }

    /// Writes a file of `size` bytes that consists of `runs` of data, in order, and holes. `read`
    /// returns a reader of the data of one run.
    ///
    /// # Errors
    /// Errors of these readers and of the output; `UnexpectedEof` if a run has too few bytes.
    pub fn sparse_file<R: Read>(
        &mut self,
        path: &[u8],
        attributes: &TarAttributes,
        size: u64,
        runs: &[Run],
        mut read: impl FnMut(Run) -> io::Result<R>,
    ) -> io::Result<()> {
        let mut map = format!("{}\n", runs.len());
        for (offset, length) in runs {
            map.push_str(&format!("{offset}\n{length}\n"));
        }
        let mut map = map.into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        let data: u64 = runs.iter().map(|(_, length)| length).sum();
        let mut attributes = attributes.clone();
        let size = size.to_string();
        for (key, value) in [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", path),
            ("GNU.sparse.realsize", size.as_bytes()),
        ] {
            attributes.records.push((key.into(), value.to_vec()));
        }
        let stored = map.len() as u64 + data;
        self.member(path, TarKind::File(stored), &attributes)?;
        self.out.write_all(&map)?;
        for run in runs {
            copy_exactly(&mut read(*run)?, &mut self.out, run.1)?;
        }
        self.pad(stored)
    }

    /// Completes the archive and returns the output.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let beyond = (size % BLOCK as u64) as usize;
        match beyond {
            0 => Ok(()),
            _ => self.out.write_all(&[0; BLOCK][beyond..]),
        }
    }
}

fn copy_exactly(source: &mut impl Read, out: &mut impl Write, size: u64) -> io::Result<()> {
    if io::copy(&mut source.take(size), out)? < size {
        let reason = "it became shorter while it was read";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    Ok(())
}

/// The content of a member's header. Values that do not fit are cut.
struct Header<'a> {
    path: &'a [u8],
    flag: u8,
    link: &'a [u8],
    size: u64,
    device: DeviceNumber,
    attributes: &'a TarAttributes,
}

impl Header<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let short = |number: u32| format!("{:07o}\0", number.min(SHORT_OCTAL_MAX));
        let long = |number: u64| format!("{:011o}\0", number.min(OCTAL_MAX));
        let mtime = u64::try_from(self.attributes.mtime).unwrap_or(0);
        let mut block = [0; BLOCK];
        let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
        put(0, &self.path[..self.path.len().min(NAME_BYTES)]);
        put(100, short(self.attributes.mode & 0o7777).as_bytes());
        put(108, short(self.attributes.uid).as_bytes());
        put(116, short(self.attributes.gid).as_bytes());
        put(124, long(self.size).as_bytes());
        put(136, long(mtime).as_bytes());
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.link[..self.link.len().min(NAME_BYTES)]);
        put(257, b"ustar\x0000");
        put(329, short(self.device.major).as_bytes());
        put(337, short(self.device.minor).as_bytes());
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Formats records as `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_records(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        // A blank, an equals sign and a newline.
        let rest = key.len() + value.len() + 3;
        let guess = rest + rest.to_string().len();
        let length = rest + guess.to_string().len();
        bytes.extend(format!("{length} ").bytes());
        bytes.extend(key);
        bytes.push(b'=');
        bytes.extend(value);
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(mtime: i64) -> TarAttributes {
        TarAttributes {
            mode: 0o644,
            mtime,
            ..TarAttributes::default()
        }
    }

    #[test]
    fn the_tar_crate_reads_the_archive() {
        let long = "d/".repeat(80) + "file";
        let mut writer = TarWriter::new(Vec::new());
        writer
            .member(b"d/", TarKind::Directory, &attributes(1))
            .unwrap();
        writer
            .small_file(long.as_bytes(), &attributes(2), b"content")
            .unwrap();
        let link = TarKind::HardLink(long.as_bytes());
        writer.member(b"hard", link, &attributes(2)).unwrap();
        let target = "t".repeat(120);
        let link = TarKind::Symlink(target.as_bytes());
        writer.member(b"soft", link, &attributes(-5)).unwrap();
        let bytes = writer.finish().unwrap();

        let mut archive = tar::Archive::new(&bytes[..]);
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let link = entry.link_name().unwrap();
            let link = link
                .map(|link| link.display().to_string())
                .unwrap_or_default();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            seen.push((path, link, content));
        }
        let row = |path: &str, link: &str, content: &str| {
            (path.to_string(), link.to_string(), content.to_string())
        };
        assert_eq!(
            seen,
            [
                row("d/", "", ""),
                row(&long, "", "content"),
                row("hard", &long, ""),
                row("soft", &target, ""),
            ]
        );
    }

    #[test]
    fn the_tar_crate_reads_owners_and_devices() {
        let mut writer = TarWriter::new(Vec::new());
        let device = DeviceNumber {
            major: 4,
            minor: 65,
        };
        let owned = |uid, gid| TarAttributes {
            uid,
            gid,
            ..attributes(1)
        };
        writer
            .member(b"tty", TarKind::CharacterDevice(device), &owned(33, 44))
            .unwrap();
        writer
            .small_file(b"far", &owned(3_000_000, 4_000_000), b"")
            .unwrap();
        let bytes = writer.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let number = |number: io::Result<Option<u32>>| number.unwrap();
                (
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    number(header.device_major()),
                    number(header.device_minor()),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (33, 44, Some(4), Some(65)),
                (3_000_000, 4_000_000, Some(0), Some(0))
            ]
        );
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for length in [1, 80, 90, 91, 92, 93, 980, 990] {
            let record = pax_records(&[(b"k".to_vec(), vec![b'v'; length])]);
            let digits = record.split(|&byte| byte == b' ').next().unwrap();
            let said: usize = std::str::from_utf8(digits).unwrap().parse().unwrap();
            assert_eq!(said, record.len(), "{length}");
        }
    }

    #[test]
    fn content_that_is_too_short_is_an_error() {
        let mut writer = TarWriter::new(Vec::new());
        let error = writer.content(&mut &b"abc"[..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
