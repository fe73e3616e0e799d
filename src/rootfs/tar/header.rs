//! Header blocks of 512 bytes.

use super::TarError;
use super::sparse::Segment;

/// Bytes in a block.
pub(super) const BLOCK: usize = 512;

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    File,
    /// A file in a format older than ustar, or a directory if its name ends with a slash.
    OldFile,
    HardLink,
    Symlink,
    Device,
    Directory,
    Fifo,
    GnuSparse,
    GnuLongName,
    GnuLongLink,
    Pax,
    PaxGlobal,
    /// A volume label or the like, with nothing to extract.
    Other,
}

/// The fields of a header that unpacking needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) size: u64,
    pub(super) flag: Flag,
}

impl Header {
    /// Parses a block; `None` for a block of zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Option<Header>, TarError> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if !has_right_checksum(block) {
            return Err(TarError::BadChecksum);
        }
        let mut path = text(&block[..100]).to_vec();
        // GNU headers hold other fields where ustar has the prefix.
        let prefix = text(&block[345..500]);
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let flag = match block[156] {
            0 => Flag::OldFile,
            b'1' => Flag::HardLink,
            b'2' => Flag::Symlink,
            b'3' | b'4' => Flag::Device,
            b'5' | b'D' => Flag::Directory,
            b'6' => Flag::Fifo,
            b'S' => Flag::GnuSparse,
            b'L' => Flag::GnuLongName,
            b'K' => Flag::GnuLongLink,
            b'x' | b'X' => Flag::Pax,
            b'g' => Flag::PaxGlobal,
            b'V' | b'M' | b'N' | b'I' => Flag::Other,
            // POSIX says that unknown types are extracted as regular files.
            _ => Flag::File,
        };
        // No data follows these types, whatever the size field says.
        let has_data = !matches!(
            flag,
            Flag::HardLink | Flag::Symlink | Flag::Device | Flag::Fifo
        ) && block[156] != b'5';
        let size = if has_data {
            unsigned(&block[124..136], "size")?
        } else {
            0
        };
        Ok(Some(Header {
            path,
            link: text(&block[157..257]).to_vec(),
            // Some writers store other bits above the permission bits.
            mode: (number(&block[100..108], "mode")? & 0o7777) as u32,
            mtime: number(&block[136..148], "mtime")?,
            size,
            flag,
        }))
    }
}

/// The sparse fields of an old GNU header: the first segments, whether more blocks of them
/// follow, and the size of the file.
pub(super) fn gnu_sparse_fields(
    block: &[u8; BLOCK],
) -> Result<(Vec<Segment>, bool, u64), TarError> {
    Ok((
        gnu_segments(&block[386..482])?,
        block[482] != 0,
        unsigned(&block[483..495], "sparse size")?,
    ))
}

/// The fields of a block that continues an old GNU sparse header.
pub(super) fn gnu_sparse_extension(block: &[u8; BLOCK]) -> Result<(Vec<Segment>, bool), TarError> {
    Ok((gnu_segments(&block[..504])?, block[504] != 0))
}

fn gnu_segments(fields: &[u8]) -> Result<Vec<Segment>, TarError> {
    fields
        .as_chunks::<24>()
        .0
        .iter()
        .take_while(|pair| pair[0] != 0)
        .map(|pair| {
            Ok(Segment {
                offset: unsigned(&pair[..12], "sparse offset")?,
                length: unsigned(&pair[12..], "sparse length")?,
            })
        })
        .collect()
}

/// Whether the checksum is the sum of all bytes, with blanks in place of the checksum field. Some
/// old writers added the bytes as signed numbers.
fn has_right_checksum(block: &[u8; BLOCK]) -> bool {
    let Ok(stored) = number(&block[148..156], "checksum") else {
        return false;
    };
    let bytes = || {
        block[..148]
            .iter()
            .chain(b"        ")
            .chain(&block[156..])
            .copied()
    };
    stored == bytes().map(i64::from).sum::<i64>()
        || stored == bytes().map(|byte| i64::from(byte as i8)).sum::<i64>()
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn unsigned(field: &[u8], name: &'static str) -> Result<u64, TarError> {
    u64::try_from(number(field, name)?).map_err(|_| TarError::BadNumber { field: name })
}

/// A number in octal, or in base 256 (two's complement) where the first bit is set.
fn number(field: &[u8], name: &'static str) -> Result<i64, TarError> {
    let bad = || TarError::BadNumber { field: name };
    if field[0] & 0x80 != 0 {
        let is_negative = field[0] & 0x40 != 0;
        let first = i64::from(field[0] & 0x3f) - if is_negative { 0x40 } else { 0 };
        return field[1..].iter().try_fold(first, |value, &byte| {
            value
                .checked_mul(256)
                .map(|value| value | i64::from(byte))
                .ok_or_else(bad)
        });
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value
            .checked_mul(8)
            .map(|value| value | i64::from(digit - b'0'))
            .ok_or_else(bad),
        _ => Err(bad()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i64>); 11] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77777777)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x02\0\0\0\0\0\0\0", Some(0x0200_0000_0000_0000)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12x45678", None),
            (b"-1      ", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field, "test").ok(), expected, "{field:?}");
        }
    }

    #[test]
    fn block_of_zeros_is_no_header_and_text_has_a_wrong_checksum() {
        assert!(matches!(Header::parse(&[0; BLOCK]), Ok(None)));
        assert!(matches!(
            Header::parse(&[b'x'; BLOCK]),
            Err(TarError::BadChecksum)
        ));
    }
}
