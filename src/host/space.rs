//! Room on a file system, looked at before much is written.

use std::io;
use std::path::Path;

use rustix::fs::{StatVfs, statvfs};

use super::fs::FsError;

/// What is about to be made, as far as it is known beforehand: never more than will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes in files.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

/// Checks that the file system of `directory` has room for `need`. Where the system does not
/// tell, there is room.
///
/// # Errors
/// There is not; the message says how much there is and how much it takes.
pub fn require(directory: &Path, need: Need) -> Result<(), FsError> {
    let Ok(system) = statvfs(directory) else {
        return Ok(());
    };
    shortage(&system, need).map_or(Ok(()), |reason| {
        let error = io::Error::new(io::ErrorKind::StorageFull, reason);
        Err(FsError::at("write to", directory)(error))
    })
}

fn shortage(system: &StatVfs, need: Need) -> Option<String> {
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if need.bytes > free {
        return Some(format!(
            "at least {} MB are needed, {} MB are free",
            need.bytes.div_ceil(1_000_000),
            free / 1_000_000
        ));
    }
    // Some file systems make inodes as they are needed and count none.
    if system.f_files > 0 && need.files > system.f_favail {
        return Some(format!(
            "at least {} inodes are needed, {} are free",
            need.files, system.f_favail
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_says_how_much_is_missing() {
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
                Some("at least 3 MB are needed, 2 MB are free"),
            ),
            (
                100,
                10,
                0,
                11,
                Some("at least 11 inodes are needed, 10 are free"),
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
    fn no_disk_has_room_for_everything() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = Need { bytes: 0, files: 0 };
        require(directory.path(), nothing).unwrap();
        let everything = Need {
            bytes: u64::MAX,
            files: 0,
        };
        let error = require(directory.path(), everything).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        // Nothing can be said about what is not there.
        require(&directory.path().join("missing"), everything).unwrap();
    }
}
