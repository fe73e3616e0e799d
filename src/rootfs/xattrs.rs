//! Extended attributes that a user can set on files and directories.
//!
//! No program in an image depends on them: where the file system has none, or no room for them,
//! they are left out.

use std::os::fd::BorrowedFd;

use rustix::fs::{
    XattrFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fremovexattr, fsetxattr,
};
use rustix::io;

/// What their names begin with.
const PREFIX: &[u8] = b"user.";

/// Names and values that are kept of one file: as much as Linux takes in a single attribute, and
/// more than most file systems take of a file.
const MAX_BYTES: usize = 64 * 1024;

/// Full names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of a file that are kept.
pub(super) fn xattrs_of(file: BorrowedFd<'_>) -> Xattrs {
    let with_value = |name: Vec<u8>| {
        let value = value_of(file, &name).ok()?;
        Some((name, value))
    };
    let names = names_of(file).unwrap_or_default();
    kept_xattrs(names.into_iter().filter_map(with_value))
}

/// Selects the attributes that are kept: those that a user may set, in order, until one would go
/// beyond the limit.
pub(super) fn kept_xattrs(xattrs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Xattrs {
    let mut left = MAX_BYTES;
    let mut kept: Xattrs = xattrs
        .filter(|(name, _)| name.starts_with(PREFIX) && !name.contains(&0))
        .map_while(|(name, value)| {
            left = left.checked_sub(name.len() + value.len())?;
            Some((name, value))
        })
        .collect();
    kept.shrink_to_fit();
    kept
}

/// Sets attributes beside those that a file has.
pub(super) fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) {
    for (name, value) in xattrs {
        let _ = fsetxattr(file, &name[..], value, XattrFlags::empty());
    }
}

/// Sets attributes, and removes all others.
pub(super) fn replace_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) {
    for name in names_of(file).unwrap_or_default() {
        if xattrs.iter().all(|(kept, _)| *kept != name) {
            let _ = fremovexattr(file, &name[..]);
        }
    }
    set_xattrs(file, xattrs);
}

/// The bytes that attributes take in memory.
pub(super) fn bytes_of_xattrs(xattrs: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let each = xattrs.iter();
    each.map(|xattr| size_of_val(xattr) + xattr.0.len() + xattr.1.len())
        .sum()
}

// Asked with no buffer at all, rustix answers with 0 instead of the size.

fn names_of(file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let length = flistxattr_query(file)?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut names = vec![0; length];
    let length = flistxattr(file, &mut names[..])?;
    let names = names[..length].split(|&byte| byte == 0);
    Ok(names
        .filter(|name| name.starts_with(PREFIX))
        .map(<[u8]>::to_vec)
        .collect())
}

fn value_of(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut value = vec![0; fgetxattr_query(file, name)?];
    let length = fgetxattr(file, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_attributes_are_limited() {
        let attribute = |name: &str, bytes: usize| (name.as_bytes().to_vec(), vec![0; bytes]);
        let half = MAX_BYTES / 2;
        let given = [
            attribute("trusted.a", MAX_BYTES),
            attribute("user.b", half),
            attribute("user.\0", 1),
            attribute("user.c", half - 12),
            attribute("user.d", 1),
        ];
        let kept = kept_xattrs(given.clone().into_iter());
        assert_eq!(kept, [given[1].clone(), given[3].clone()]);
    }
}
