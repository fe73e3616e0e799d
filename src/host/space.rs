//! Free space on a file system, checked before much is written.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{StatVfs, statvfs};

use super::fs::{FsError, is_storage_full};

/// The space that an operation needs, as far as it is known beforehand: a lower bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes in files.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

/// Checks that the file system of `directory` has room for `need`. Passes if the file system does
/// not report its free space.
///
/// # Errors
/// There is not enough room; the message says how much is free and how much is needed.
pub fn require(directory: &Path, need: Need) -> Result<(), FsError> {
    let Some(system) = told_of(directory) else {
        return Ok(());
    };
    shortage(&system, need).map_or(Ok(()), |reason| {
        let error = io::Error::new(io::ErrorKind::StorageFull, reason);
        Err(FsError::at("write to", directory)(error))
    })
}

/// Checks the same for several directories. Needs on the same file system are added up.
///
/// # Errors
/// One of the file systems has not enough room.
pub fn require_all(needs: &[(&Path, Need)]) -> Result<(), FsError> {
    let device = |directory: &Path| fs::metadata(directory).map(|meta| meta.dev()).ok();
    for (directory, _) in needs {
        let beside = needs
            .iter()
            .filter(|(other, _)| other == directory || device(other) == device(directory));
        let together = beside.fold(Need::default(), |sum, (_, need)| Need {
            bytes: sum.bytes.saturating_add(need.bytes),
            files: sum.files.saturating_add(need.files),
        });
        require(directory, together)?;
    }
    Ok(())
}

/// The free space on a file system before an operation, to be reported if the disk gets full.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// `None` if the file system does not report it.
    free: Option<Need>,
    /// Some file systems allocate inodes dynamically and report no number.
    counts_files: bool,
}

impl Room {
    /// Looks at the file system of `directory`.
    pub fn at(directory: &Path) -> Room {
        let system = told_of(directory);
        Room {
            free: system.as_ref().map(|system| Need {
                bytes: free_bytes(system),
                files: system.f_favail,
            }),
            counts_files: system.is_some_and(|system| system.f_files > 0),
        }
    }

    /// Adds to an error about a full disk how much space was missing; `needed_bytes` is a lower
    /// bound of the need, if it is known. Other errors are returned unchanged.
    pub fn explain(self, error: io::Error, needed_bytes: Option<u64>) -> io::Error {
        if !is_storage_full(&error) {
            return error;
        }
        let (Some(needed), Some(free)) = (needed_bytes, self.free) else {
            return error;
        };
        let needed_mb = needed.div_ceil(MEGABYTE);
        let free_mb = free.bytes / MEGABYTE;
        // The file system does not report how much of a quota is left.
        if error.kind() == io::ErrorKind::QuotaExceeded {
            let missing = format!(
                "at least {needed_mb} MB are needed; the disk has {free_mb} MB, but not for you"
            );
            return io::Error::new(error.kind(), format!("{error}: {missing}"));
        }
        let mut missing = format!("at least {needed_mb} MB are needed, {free_mb} MB were free");
        if needed <= free.bytes && self.counts_files {
            missing.push_str(&format!(" and {} inodes", free.files));
        }
        io::Error::new(error.kind(), format!("{error}: {missing}"))
    }
}

const MEGABYTE: u64 = 1_000_000;

/// The statistics of the file system of `directory`. `None` for those that report no blocks at all
/// although they can be written to; some in memory or in user space do that.
fn told_of(directory: &Path) -> Option<StatVfs> {
    statvfs(directory).ok().filter(|system| system.f_blocks > 0)
}

fn free_bytes(system: &StatVfs) -> u64 {
    system.f_bavail.saturating_mul(system.f_frsize)
}

fn shortage(system: &StatVfs, need: Need) -> Option<String> {
    let free = free_bytes(system);
    if need.bytes > free {
        return Some(format!(
            "No space left on device: at least {} MB are needed, {} MB are free",
            need.bytes.div_ceil(MEGABYTE),
            free / MEGABYTE
        ));
    }
    // Some file systems allocate inodes dynamically and report no number.
    if system.f_files > 0 && need.files > system.f_favail {
        return Some(format!(
            "No space left on device: at least {} inodes are needed, {} are free",
            need.files, system.f_favail
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortage_states_the_missing_space() {
        let directory = tempfile::tempdir().unwrap();
        let mut system = statvfs(directory.path()).unwrap();
        system.f_frsize = 1000;
        system.f_bavail = 2500;
        let cases = [
            (100, 10, 2_500_000, 10, None),
            (
                100,
                10,
                2_500_001,
                10,
                Some("No space left on device: at least 3 MB are needed, 2 MB are free"),
            ),
            (
                100,
                10,
                0,
                11,
                Some("No space left on device: at least 11 inodes are needed, 10 are free"),
            ),
            (0, 0, 0, 11, None),
        ];
        for (inodes, free_inodes, bytes, files, expected) in cases {
            system.f_files = inodes;
            system.f_favail = free_inodes;
            let found = shortage(&system, Need { bytes, files });
            assert_eq!(found.as_deref(), expected, "{bytes} bytes, {files} files");
        }
    }

    #[test]
    fn only_a_full_disk_is_explained() {
        let free = Need {
            bytes: 2_500_000,
            files: 7,
        };
        let room = Room {
            free: Some(free),
            counts_files: true,
        };
        let explained = |code, needed| {
            let error = io::Error::from_raw_os_error(code);
            room.explain(error, needed).to_string()
        };
        assert_eq!(
            explained(libc::ENOSPC, Some(2_500_001)),
            "No space left on device (os error 28): at least 3 MB are needed, 2 MB were free"
        );
        assert_eq!(
            explained(libc::ENOSPC, Some(1)),
            "No space left on device (os error 28): at least 1 MB are needed, 2 MB were free and 7 inodes"
        );
        assert_eq!(
            explained(libc::EDQUOT, Some(1)),
            "Disk quota exceeded (os error 122): at least 1 MB are needed; the disk has 2 MB, but not for you"
        );
        assert_eq!(
            explained(libc::ENOSPC, None),
            "No space left on device (os error 28)"
        );
        assert_eq!(
            explained(libc::EIO, Some(1)),
            "Input/output error (os error 5)"
        );
    }

    #[test]
    fn impossible_size_is_a_shortage() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = Need { bytes: 0, files: 0 };
        require(directory.path(), nothing).unwrap();
        let everything = Need {
            bytes: u64::MAX,
            files: 0,
        };
        let error = require(directory.path(), everything).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        // Nothing is known about a missing directory, nor about a file system without blocks.
        let missing = directory.path().join("missing");
        require(&missing, everything).unwrap();
        let proc = Path::new("/proc");
        assert_eq!(statvfs(proc).unwrap().f_blocks, 0);
        require(proc, everything).unwrap();
        assert!(Room::at(proc).free.is_none());
        require_all(&[(&missing, everything)]).unwrap();
        // Each of the two needs fits alone, but not both together.
        let most = Need {
            bytes: free_bytes(&statvfs(directory.path()).unwrap()) / 4 * 3,
            files: 0,
        };
        let beside = tempfile::tempdir_in(directory.path()).unwrap();
        let needs = [(directory.path(), most), (beside.path(), most)];
        require_all(&needs[..1]).unwrap();
        require_all(&needs[1..]).unwrap();
        assert!(require_all(&needs).is_err());
    }
}
