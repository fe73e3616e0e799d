//! The type of the file system that a directory is on, and what that type can do.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, StatVfsMountFlags, StatxAttributes, StatxFlags, statvfs, statx};
use rustix::path::Arg;

/// The type of a file system, as the number that `statfs` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem(pub u32);

/// Number, name, and whether several machines share the files.
///
/// Source: statfs(2); Lustre, GPFS, BeeGFS and PanFS from their own headers.
const KNOWN: &[(u32, &str, bool)] = &[
    (0x0000_6969, "NFS", true),
    (0x0000_517b, "SMB", true),
    (0xff53_4d42, "CIFS", true),
    (0xfe53_4d42, "SMB2", true),
    (0x0bd0_0bd0, "Lustre", true),
    (0x4750_4653, "GPFS", true),
    (0x1983_0326, "BeeGFS", true),
    (0xaad7_aaea, "PanFS", true),
    (0x00c3_6400, "CephFS", true),
    (0x5346_414f, "AFS", true),
    (0x0102_1997, "9P", true),
    (0x6573_5546, "FUSE", false),
    (0x0000_ef53, "ext4", false),
    (0x5846_5342, "XFS", false),
    (0x9123_683e, "Btrfs", false),
    (0x2fc1_2fc1, "ZFS", false),
    (0xca45_1a4e, "bcachefs", false),
    (0xf2f5_2010, "F2FS", false),
    (0x794c_7630, "overlay", false),
    (0x0102_1994, "tmpfs", false),
    (0x7371_7368, "SquashFS", false),
];

impl FileSystem {
    /// The type of the file system that `directory` is on.
    ///
    /// # Errors
    /// The directory does not exist, or cannot be reached.
    pub fn of(directory: &Path) -> io::Result<FileSystem> {
        let number = rustix::fs::statfs(directory)?.f_type;
        // The width of the field differs between machines; the numbers have 32 bits.
        Ok(FileSystem((number as u64 & u64::from(u32::MAX)) as u32))
    }

    /// Whether several machines share the files, so that every access is a request to a server.
    pub fn is_shared(self) -> bool {
        self.known().is_some_and(|(_, _, shared)| *shared)
    }

    /// Whether each operation is a request to a server: on another machine, or a local process.
    pub fn has_server(self) -> bool {
        self.is_shared() || self.known().is_some_and(|(_, name, _)| *name == "FUSE")
    }

    /// Whether every change to a file updates its time of change. That takes a file system of this
    /// machine alone, which also notices changes through a memory mapping; tmpfs does not.
    pub fn dates_every_change(self) -> bool {
        let dates = ["ext4", "XFS", "Btrfs", "bcachefs", "F2FS"];
        self.known()
            .is_some_and(|(_, name, _)| dates.contains(name))
    }

    fn known(self) -> Option<&'static (u32, &'static str, bool)> {
        KNOWN.iter().find(|(number, ..)| *number == self.0)
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "type {:#x}", self.0),
        }
    }
}

/// Whether `path`, relative to `directory`, is the root of a mount; `None` if it cannot be examined,
/// or the kernel does not tell, as those before 5.8.
pub fn is_mount_root(directory: impl AsFd, path: impl Arg, flags: AtFlags) -> Option<bool> {
    let status = statx(directory, path, flags, StatxFlags::empty()).ok()?;
    let is_told = status
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT);
    is_told.then(|| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether the mount that `path` is on allows programs to be executed.
pub fn allows_execution(path: &Path) -> bool {
    statvfs(path).is_ok_and(|mount| !mount.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Finds out whether files in `directory` can share blocks until one of them is changed (reflinks).
///
/// # Errors
/// The file system has no reflinks, or no file can be created in the directory.
pub fn can_share_blocks(directory: &Path) -> io::Result<()> {
    let source = tempfile::tempfile_in(directory)?;
    let target = tempfile::tempfile_in(directory)?;
    Ok(rustix::fs::ioctl_ficlone(target, source)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_numbers() {
        for (number, name, shared, server, dates) in [
            (0x6969, "NFS", true, true, false),
            (0x6573_5546, "FUSE", false, true, false),
            (0xef53, "ext4", false, false, true),
            (0x0102_1994, "tmpfs", false, false, false),
            (0x1234, "type 0x1234", false, false, false),
        ] {
            let system = FileSystem(number);
            assert_eq!(system.to_string(), name);
            assert_eq!(
                (
                    system.is_shared(),
                    system.has_server(),
                    system.dates_every_change()
                ),
                (shared, server, dates)
            );
        }
        assert!(FileSystem::of(Path::new("/proc")).is_ok());
    }
}
