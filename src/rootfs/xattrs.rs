//! Extended attributes that a user can set on files and directories.
//!
//! They are an extra that no program in an image depends on: where the file system has none, or has
//! no room for them, there are none.

use std::os::fd::BorrowedFd;

use rustix::fs::{
    XattrFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fremovexattr, fsetxattr,
};
use rustix::io;

/// What the names of all of them begin with.
pub(super) const PREFIX: &[u8] = b"user.";

/// Full names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Those of a file.
pub(super) fn xattrs_of(file: BorrowedFd<'_>) -> Xattrs {
    let with_value = |name: Vec<u8>| {
        let value = value_of(file, &name).ok()?;
        Some((name, value))
    };
    names_of(file)
        .unwrap_or_default()
        .into_iter()
        .filter_map(with_value)
        .collect()
}

/// Sets more of them.
pub(super) fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) {
    for (name, value) in xattrs {
        let _ = fsetxattr(file, &name[..], value, XattrFlags::empty());
    }
}

/// Sets these, and removes all others.
pub(super) fn replace_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) {
    for name in names_of(file).unwrap_or_default() {
        if xattrs.iter().all(|(kept, _)| *kept != name) {
            let _ = fremovexattr(file, &name[..]);
        }
    }
    set_xattrs(file, xattrs);
}

/// What they take in memory.
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
