//! Extended attributes of files.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, lsetxattr};

/// The attributes in the namespace `user`: names and escaped values. Empty where the file system
/// has none.
pub fn read(path: &Path) -> BTreeMap<String, String> {
    let mut names = vec![0; llistxattr_query(path).unwrap_or(0)];
    if !names.is_empty() {
        llistxattr(path, &mut names[..]).unwrap();
    }
    let names = names.split(|byte| *byte == 0);
    let names = names.filter(|name| name.starts_with(b"user."));
    let with_value = |name: &[u8]| {
        let mut value = vec![0; lgetxattr_query(path, name).unwrap()];
        lgetxattr(path, name, &mut value[..]).unwrap();
        (
            name.escape_ascii().to_string(),
            value.escape_ascii().to_string(),
        )
    };
    names.map(with_value).collect()
}

/// Sets an attribute; returns whether the file system supports that.
pub fn set(path: &Path, name: &str, value: &str) -> bool {
    lsetxattr(path, name, value.as_bytes(), XattrFlags::empty()).is_ok()
}
