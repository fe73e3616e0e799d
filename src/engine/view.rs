//! The host's file system, for planning a run.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags};

use crate::host::file_system::allows_execution;
use crate::host::fs::open_file_beneath;
use crate::spec::{BeneathPath, Execution, FileType, GuestView};

/// Reads the host's file system.
pub struct HostView;

impl GuestView for HostView {
    fn file_type(&self, path: &Path) -> Option<FileType> {
        match fs::symlink_metadata(path) {
            Ok(data) => Some(of(&data)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(FileType::Hidden),
            Err(_) => None,
        }
    }

    fn file_type_followed(&self, path: &Path) -> Option<FileType> {
        fs::metadata(path).ok().map(|data| of(&data))
    }

    fn link_target(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(path).ok()
    }

    fn execution(&self, path: &Path) -> Execution {
        if rustix::fs::access(path, Access::EXEC_OK).is_ok() {
            return Execution::Allowed;
        }
        match fs::metadata(path) {
            Ok(data) if data.mode() & 0o111 == 0 => Execution::ByNobody,
            Ok(_) if !allows_execution(path) => Execution::NoExec,
            Ok(_) => Execution::ByOthers,
            Err(_) => Execution::ByNobody,
        }
    }

    fn read(&self, place: &BeneathPath, limit: usize) -> Option<Vec<u8>> {
        // Not blocking: the file may have been replaced by a pipe in the meantime.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = open_file_beneath(place.base.as_path(), place.below(), flags).ok()?;
        let mut bytes = Vec::new();
        file.take(limit as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

fn of(data: &fs::Metadata) -> FileType {
    let file_type = data.file_type();
    if file_type.is_symlink() {
        FileType::Symlink
    } else if file_type.is_dir() {
        FileType::Directory
    } else if file_type.is_file() {
        FileType::File
    } else {
        FileType::Other
    }
}
