//! What the guest sees: binds as mounts.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};

use crate::spec::{Access, Bind, DRI_DIRECTORIES, GuestPath, HostPath, SYSTEM_DIRECTORIES};

/// A bind to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: HostPath,
    pub(super) target: GuestPath,
    /// The target, below the root tree.
    pub(super) place: PathBuf,
    pub(super) read_only: bool,
    /// Whether nobody asked for it, so that the container has to do without where it cannot be.
    is_default: bool,
}

impl Mount {
    pub(super) fn of(root: &HostPath, bind: &Bind) -> Mount {
        let source = bind.source.as_path();
        let is_default = source == bind.target.as_path()
            && SYSTEM_DIRECTORIES
                .iter()
                .chain(&DRI_DIRECTORIES)
                .any(|path| source == Path::new(path));
        Mount {
            source: bind.source.clone(),
            target: bind.target.clone(),
            place: root.beneath(bind.target.as_path()).as_path().to_path_buf(),
            read_only: bind.access == Access::ReadOnly,
            is_default,
        }
    }

    pub(super) fn mount(&self) -> io::Result<()> {
        match self::bind(self.source.as_path(), &self.place) {
            Err(_) if self.is_default => Ok(()),
            result => result,
        }
    }
}

/// Mounts `source` with all that is mounted below it: the kernel refuses less, since what lies
/// under a mount of the host must stay covered.
pub(super) fn bind(source: &Path, place: &Path) -> io::Result<()> {
    Ok(mount_bind_recursive(source, place)?)
}

/// Makes the mount at `place`, and those below it, read-only.
///
/// `mount_setattr` would do that in one call, but not before Linux 5.12.
pub(super) fn make_read_only(place: &Path) -> io::Result<()> {
    let table = fs::read("/proc/self/mountinfo")?;
    // The table has the place without links.
    let place = fs::canonicalize(place)?;
    for (path, flags) in mounted_below(&table, &place) {
        // Flags that the host has set must be repeated, or the kernel refuses.
        let flags = flags | MountFlags::RDONLY | MountFlags::BIND;
        match mount_remount(&path, flags, "") {
            // Covered by a later mount, so out of the guest's reach too.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) if path != place => {}
            result => result?,
        }
    }
    Ok(())
}

/// The mounts at `place` and below, with their flags, in the order of the table.
fn mounted_below<'a>(
    table: &'a [u8],
    place: &'a Path,
) -> impl Iterator<Item = (PathBuf, MountFlags)> + 'a {
    table.split(|&byte| byte == b'\n').filter_map(move |line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = unescape(fields.nth(4)?);
        let flags = flags(fields.next()?);
        path.starts_with(place).then_some((path, flags))
    })
}

/// `\040` and the like stand for bytes that would break the table.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = &after[if octal.is_some() { 3 } else { 0 }..];
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn flags(options: &[u8]) -> MountFlags {
    options
        .split(|&byte| byte == b',')
        .map(|option| match OsStr::from_bytes(option).to_str() {
            Some("ro") => MountFlags::RDONLY,
            Some("nosuid") => MountFlags::NOSUID,
            Some("nodev") => MountFlags::NODEV,
            Some("noexec") => MountFlags::NOEXEC,
            Some("noatime") => MountFlags::NOATIME,
            Some("nodiratime") => MountFlags::NODIRATIME,
            Some("relatime") => MountFlags::RELATIME,
            _ => MountFlags::empty(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_is_read() {
        let table = b"1 0 8:1 / / rw,relatime - ext4 /dev/sda rw\n\
            2 1 0:5 / /a rw,nosuid,nodev - tmpfs t rw\n\
            3 2 0:6 / /a/b\\040c ro,noexec,noatime - tmpfs t rw\n\
            4 1 0:6 / /ab rw - tmpfs t rw\n";
        let found: Vec<(PathBuf, MountFlags)> = mounted_below(table, Path::new("/a")).collect();
        assert_eq!(
            found,
            [
                (PathBuf::from("/a"), MountFlags::NOSUID | MountFlags::NODEV),
                (
                    PathBuf::from("/a/b c"),
                    MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOATIME
                ),
            ]
        );
    }

    #[test]
    fn escapes_are_undone() {
        for (field, path) in [("/a", "/a"), (r"/\134\0401", "/\\ 1"), (r"/\04", r"/\04")] {
            assert_eq!(unescape(field.as_bytes()), Path::new(path), "{field}");
        }
    }
}
