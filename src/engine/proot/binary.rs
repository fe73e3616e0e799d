//! Unpacks the embedded PRoot to where it can be executed.
//!
//! ```text
//! <bin>/proot-x86_64            unpacked once, compared with the embedded one before each use
//! <bin>/proot-x86_64-loader     starts the guest's 64-bit programs
//! <bin>/proot-x86_64-loader-32  starts the guest's 32-bit programs
//! ```
//!
//! If `<bin>` is not writable or is mounted `noexec`, memory files are used, which leave nothing
//! behind; if the system forbids executing these, another directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::embedded;
use crate::host::facts::uid;
use crate::host::fs::{FsError, create_dir_all, write_atomic};

/// PRoot and its loaders, ready to be executed.
pub(in crate::engine) struct Unpacked {
    pub(in crate::engine) proot: PathBuf,
    pub(in crate::engine) loader: Option<PathBuf>,
    pub(in crate::engine) loader_32: Option<PathBuf>,
    /// Keeps the memory files open that the paths lead to, if there are any.
    _memory: Vec<OwnedFd>,
}

impl Unpacked {
    /// The user's own PRoot, which contains its loaders.
    pub(super) fn other(proot: &Path) -> Unpacked {
        Unpacked {
            proot: proot.to_path_buf(),
            loader: None,
            loader_32: None,
            _memory: Vec::new(),
        }
    }
}

/// The embedded files, with the endings of their names.
fn parts() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    [
        ("", Some(embedded::PROOT)),
        ("-loader", embedded::LOADER),
        ("-loader-32", embedded::LOADER_32),
    ]
    .into_iter()
    .filter_map(|(ending, content)| Some((ending, content?)))
}

/// Unpacks PRoot into `directory`, which is created if it is missing. Files with the right content
/// are kept. Returns the path of the executable.
///
/// # Errors
/// The directory or a file in it cannot be created or written.
pub fn install(directory: &Path) -> Result<PathBuf, FsError> {
    unpack(directory).map(|unpacked| unpacked.proot)
}

/// Names and texts of the licences of the embedded files and of this program.
pub fn licences() -> &'static [(&'static str, &'static str)] {
    embedded::LICENCES
}

pub(super) fn unpack(directory: &Path) -> Result<Unpacked, FsError> {
    let path = |ending: &str| {
        let architecture = std::env::consts::ARCH;
        directory.join(format!("proot-{architecture}{ending}"))
    };
    for (ending, content) in parts() {
        let path = path(ending);
        if !holds(&path, content) {
            create_dir_all(directory)?;
            write_atomic(&path, content, 0o755)?;
        }
    }
    Ok(Unpacked {
        proot: path(""),
        loader: embedded::LOADER.map(|_| path("-loader")),
        loader_32: embedded::LOADER_32.map(|_| path("-loader-32")),
        _memory: Vec::new(),
    })
}

/// A private directory of the caller in a directory that others may write to, created if it is
/// missing. `None` if its name is taken by anything else, which could contain another user's
/// programs.
pub(super) fn own_directory(shared: &Path) -> Option<PathBuf> {
    create_dir_all(shared).ok()?;
    let path = shared.join(format!("udocker-{}", uid()));
    // If this fails, the directory may exist already.
    let _ = DirBuilder::new().mode(0o700).create(&path);
    let data = fs::symlink_metadata(&path).ok()?;
    let is_own = data.is_dir() && data.uid() == uid() && data.mode() & 0o077 == 0;
    is_own.then_some(path)
}

/// Puts PRoot into memory files. Their paths lead through `/proc/PID/fd` of this process, so they
/// are valid, for the guest's programs too, as long as the value and the process live. The
/// descriptors themselves are not inherited.
pub(super) fn keep_in_memory() -> io::Result<Unpacked> {
    let mut memory = Vec::new();
    let mut keep = |content: &[u8]| -> io::Result<PathBuf> {
        let fd = memory_file(content)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        memory.push(fd);
        Ok(PathBuf::from(path))
    };
    Ok(Unpacked {
        proot: keep(embedded::PROOT)?,
        loader: embedded::LOADER.map(&mut keep).transpose()?,
        loader_32: embedded::LOADER_32.map(&mut keep).transpose()?,
        _memory: memory,
    })
}

/// A memory file with `content`, open only for reading: a file that is open for writing cannot be
/// executed.
fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    // Kernels before 6.3 do not know `MFD_EXEC`; later ones may be configured to require it.
    let fd = memfd_create("proot", MemfdFlags::CLOEXEC | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("proot", MemfdFlags::CLOEXEC))?;
    let mut file = File::from(fd);
    file.write_all(content)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(OwnedFd::from(File::open(path)?))
}

/// Whether the file is executable and has exactly this content.
fn holds(path: &Path, content: &[u8]) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    let fits = file.metadata().is_ok_and(|data| {
        data.len() == content.len() as u64 && data.permissions().mode() & 0o111 != 0
    });
    let mut buffer = vec![0; 64 << 10];
    fits && content.chunks(buffer.len()).all(|chunk| {
        let read = &mut buffer[..chunk.len()];
        file.read_exact(read).is_ok() && read == chunk
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn damaged_engine_files_are_replaced_and_intact_ones_kept() {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        let path = install(&bin).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        install(&bin).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);

        let mut damaged = embedded::PROOT.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, &damaged).unwrap();
        install(&bin).unwrap();
        assert!(holds(&path, embedded::PROOT));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        install(&bin).unwrap();
        assert!(holds(&path, embedded::PROOT));
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let shared = tempfile::tempdir().unwrap();
        let own = own_directory(shared.path()).unwrap();
        assert!(own.starts_with(shared.path()));
        assert_eq!(own_directory(shared.path()), Some(own.clone()));
        // A directory that anybody may write to, and a link to a private one.
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(own_directory(shared.path()), None);
        let elsewhere = shared.path().join("elsewhere");
        fs::rename(&own, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&elsewhere, &own).unwrap();
        assert_eq!(own_directory(shared.path()), None);
    }

    #[test]
    fn memory_files_can_be_executed() {
        let unpacked = keep_in_memory().unwrap();
        assert!(unpacked.proot.starts_with("/proc"));
        let version = std::process::Command::new(&unpacked.proot)
            .arg("--version")
            .output()
            .unwrap();
        assert!(version.status.success());
    }
}
