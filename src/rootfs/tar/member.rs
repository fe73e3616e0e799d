//! Members of an archive: headers together with their extensions.

use super::TarError;
use super::header::{BLOCK, Flag, Header, gnu_sparse_extension, gnu_sparse_fields};
use super::pax::{Records, decimal};
use super::source::{Slice, Source};
use super::sparse::{Segment, SegmentList, SparseMap, segments_in_records};

/// The largest header extension that is read; names, links and attributes need far less.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// A time as file systems store it; the nanoseconds count forward from the seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct Timestamp {
    pub(in crate::rootfs) seconds: i64,
    pub(in crate::rootfs) nanoseconds: i64,
}

/// The type of a member, with what only this type has.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rootfs) enum MemberKind {
    File { sparse: Option<SparseMap> },
    HardLink { target: Vec<u8> },
    Symlink { target: Vec<u8> },
    Directory,
    Fifo,
    Device,
}

/// A member as the archive describes it, not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rootfs) struct Member {
    pub(in crate::rootfs) path: Vec<u8>,
    pub(in crate::rootfs) kind: MemberKind,
    /// Permission, setuid, setgid and sticky bits.
    pub(in crate::rootfs) mode: u32,
    pub(in crate::rootfs) mtime: Timestamp,
    /// The bytes of content that follow.
    pub(in crate::rootfs) stored: u64,
    /// Extended attributes, with their full names.
    pub(in crate::rootfs) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the members of one layer.
pub(in crate::rootfs) struct Members<'s, 'p> {
    source: &'s mut Source<'p>,
    /// The bytes of the current member's content that were not read yet.
    remaining: u64,
    /// The bytes from the end of the content to the next block.
    padding: u64,
}

/// The extensions that come before the header of a member.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Records>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_none()
    }
}

impl<'s, 'p> Members<'s, 'p> {
    pub(in crate::rootfs) fn new(source: &'s mut Source<'p>) -> Members<'s, 'p> {
        Members {
            source,
            remaining: 0,
            padding: 0,
        }
    }

    /// Goes on to the next member, skipping the unread content of the current one. As with `tar`,
    /// an archive may end without its two blocks of zeros.
    pub(in crate::rootfs) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let Some(block) = self.source.block()? else {
                return if extensions.is_empty() {
                    Ok(None)
                } else {
                    Err(TarError::Truncated)
                };
            };
            let Some(header) = Header::parse(&block)? else {
                return match self.source.block()? {
                    Some(second) if second != [0; BLOCK] => Err(TarError::LoneZeroBlock),
                    _ => Ok(None),
                };
            };
            self.set_content(header.size);
            match header.flag {
                Flag::GnuLongName => extensions.long_name = Some(self.read_name()?),
                Flag::GnuLongLink => extensions.long_link = Some(self.read_name()?),
                Flag::Pax => extensions.pax = Some(Records::parse(self.read_extension()?)?),
                // Image builders write no global records that concern files, and other unpackers
                // ignore them.
                Flag::PaxGlobal => {}
                Flag::Other => extensions = Extensions::default(),
                _ => return self.assemble(header, &block, extensions).map(Some),
            }
        }
    }

    /// Returns the next bytes of the member's content, at most `limit`; `None` at its end.
    pub(in crate::rootfs) fn content(&mut self, limit: usize) -> Result<Option<Slice>, TarError> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let limit = limit.min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        let slice = self.source.take(limit)?.ok_or(TarError::Truncated)?;
        self.remaining -= slice.bytes().len() as u64;
        Ok(Some(slice))
    }

    fn set_content(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        while self.content(usize::MAX)?.is_some() {}
        // In the last member, the padding may be missing.
        while self.padding > 0 {
            let Some(slice) = self.source.take(self.padding as usize)? else {
                break;
            };
            self.padding -= slice.bytes().len() as u64;
        }
        self.padding = 0;
        Ok(())
    }

    fn read_extension(&mut self) -> Result<Vec<u8>, TarError> {
        if self.remaining > MAX_EXTENSION_BYTES {
            return Err(TarError::ExtensionTooLarge {
                bytes: self.remaining,
                limit: MAX_EXTENSION_BYTES,
            });
        }
        let mut bytes = Vec::new();
        while let Some(slice) = self.content(usize::MAX)? {
            bytes.extend_from_slice(slice.bytes());
        }
        Ok(bytes)
    }

    fn read_name(&mut self) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_extension()?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn assemble(
        &mut self,
        header: Header,
        block: &[u8; BLOCK],
        extensions: Extensions,
    ) -> Result<Member, TarError> {
        let records = extensions.pax.unwrap_or_default();
        let is_file = matches!(header.flag, Flag::File | Flag::OldFile | Flag::GnuSparse);
        // A directory has no data, whatever its records say.
        if is_file && let Some(size) = records.number("size")? {
            self.set_content(size);
        }
        let sparse = match header.flag {
            Flag::GnuSparse => Some(self.read_gnu_map(block)?),
            Flag::File | Flag::OldFile => self.read_pax_map(&records)?,
            _ => None,
        };
        let path = records
            .get("GNU.sparse.name")
            .or_else(|| records.get("path"))
            .map(<[u8]>::to_vec)
            .or(extensions.long_name)
            .unwrap_or(header.path);
        let target = records
            .get("linkpath")
            .map(<[u8]>::to_vec)
            .or(extensions.long_link)
            .unwrap_or(header.link);
        let kind = match header.flag {
            Flag::HardLink => MemberKind::HardLink { target },
            Flag::Symlink => MemberKind::Symlink { target },
            Flag::Directory => MemberKind::Directory,
            Flag::Fifo => MemberKind::Fifo,
            Flag::Device => MemberKind::Device,
            Flag::OldFile if path.ends_with(b"/") => MemberKind::Directory,
            _ => MemberKind::File { sparse },
        };
        let mtime = records.time("mtime")?.unwrap_or(Timestamp {
            seconds: header.mtime,
            nanoseconds: 0,
        });
        let xattrs = records
            .pairs()
            .filter_map(|(key, value)| {
                let name = key.strip_prefix(b"SCHILY.xattr.")?;
                Some((name.to_vec(), value.to_vec()))
            })
            .collect();
        Ok(Member {
            path,
            kind,
            mode: header.mode,
            mtime,
            stored: self.remaining,
            xattrs,
        })
    }

    /// Reads the map of an old GNU sparse file, which continues in blocks after the header.
    fn read_gnu_map(&mut self, block: &[u8; BLOCK]) -> Result<SparseMap, TarError> {
        let (first, mut has_more, size) = gnu_sparse_fields(block)?;
        let mut list = SegmentList::default();
        list.extend(first)?;
        while has_more {
            let block = self.source.block()?.ok_or(TarError::Truncated)?;
            let (segments, goes_on) = gnu_sparse_extension(&block)?;
            list.extend(segments)?;
            has_more = goes_on;
        }
        SparseMap::new(list.into_inner(), size, self.remaining)
    }

    /// Reads the map of a sparse file in one of the three PAX formats; `None` if it is not sparse.
    fn read_pax_map(&mut self, records: &Records) -> Result<Option<SparseMap>, TarError> {
        let size = match records.number("GNU.sparse.realsize")? {
            Some(size) => Some(size),
            None => records.number("GNU.sparse.size")?,
        };
        let Some(size) = size else { return Ok(None) };
        let segments = if records.get("GNU.sparse.major") == Some(b"1") {
            self.read_map_in_content()?
        } else {
            segments_in_records(records)?
        };
        SparseMap::new(segments, size, self.remaining).map(Some)
    }

    /// Reads a map of PAX format 1.0: the content begins with decimal numbers, one per line, padded
    /// to a whole block: the number of segments, then offset and length of each.
    fn read_map_in_content(&mut self) -> Result<Vec<Segment>, TarError> {
        let mut text = Vec::new();
        let mut at = 0;
        let count = self.map_number(&mut text, &mut at)?;
        let mut list = SegmentList::default();
        for _ in 0..count {
            let offset = self.map_number(&mut text, &mut at)?;
            let length = self.map_number(&mut text, &mut at)?;
            list.push(Segment { offset, length })?;
        }
        Ok(list.into_inner())
    }

    fn map_number(&mut self, text: &mut Vec<u8>, at: &mut usize) -> Result<u64, TarError> {
        /// The digits of the largest number.
        const MAX_DIGITS: usize = 20;
        loop {
            let rest = &text[*at..];
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let number = decimal(&rest[..end]).ok_or(TarError::BadSparseMap)?;
                *at += end + 1;
                return Ok(number);
            }
            if rest.len() > MAX_DIGITS {
                return Err(TarError::BadSparseMap);
            }
            text.drain(..*at);
            *at = 0;
            let wanted = text.len() + BLOCK;
            while text.len() < wanted {
                let slice = self
                    .content(wanted - text.len())?
                    .ok_or(TarError::BadSparseMap)?;
                text.extend_from_slice(slice.bytes());
            }
        }
    }
}
