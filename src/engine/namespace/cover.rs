//! Places to mount on where the host lets nobody make any: below `/dev`, say.
//!
//! The directory is covered by a file system in memory that shows the same, entry by entry, and
//! can be added to.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::mounts;
use crate::host::fs::make_beneath;
use crate::spec::{GuestPath, Tmpfs};

/// Makes `target` below `root` if it is missing, in the guest's own mount namespace. In the root
/// tree and in directories of the host it has been made before, if that was possible at all, see
/// [`super::points`]; left over are file systems in memory, and directories that cannot be written.
pub(super) fn ensure_mount_point(
    root: &Path,
    target: &GuestPath,
    is_directory: &dyn Fn() -> bool,
) -> io::Result<()> {
    let place = root.join(target.below_root());
    if fs::symlink_metadata(&place).is_ok() {
        return Ok(());
    }
    let make = || make_beneath(root, target.below_root(), is_directory());
    let Err(denied) = make() else {
        return Ok(());
    };
    let Some(directory) = place.ancestors().find(|path| path.is_dir()) else {
        return Err(denied);
    };
    cover(directory)?;
    make()
}

/// Lays a file system in memory over `directory`, with everything in it that was there before.
fn cover(directory: &Path) -> io::Result<()> {
    let before = File::open(directory)?;
    let entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    let tmpfs = Tmpfs {
        mode: 0o755,
        ..Tmpfs::default()
    };
    mounts::mount_memory(directory, &tmpfs)?;
    // The path of what is covered now.
    let before = PathBuf::from(format!("/proc/self/fd/{}", before.as_raw_fd()));
    for entry in entries {
        let source = before.join(entry.file_name());
        let place = directory.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &place)?;
            continue;
        }
        make_beneath(directory, Path::new(&entry.file_name()), kind.is_dir())?;
        mounts::bind(&source, &place)?;
    }
    Ok(())
}
