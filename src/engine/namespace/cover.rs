//! Makes mount points in directories that cannot be written to: below `/dev`, for example.
//!
//! A file system in memory is mounted over the directory. It shows the same entries, each bound
//! one by one, and entries can be added to it.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::symlinkat;

use super::mounts::{self, MountPoint};
use crate::host::fs::{make_beneath, open_beneath};
use crate::spec::Tmpfs;

/// Opens the mount point `place` below `root`, and makes it if it is missing, in the guest's own
/// mount namespace. Mount points in the root tree and in directories of the host have been made
/// before, where that was possible, see [`super::mount_points`]. Left over are those in file
/// systems in memory, and in directories that cannot be written to.
pub(super) fn open_mount_point(
    root: &Path,
    place: &Path,
    is_directory: bool,
) -> io::Result<MountPoint> {
    match MountPoint::open(root, place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let make = || make_beneath(root, place, is_directory);
    if let Err(denied) = make() {
        let directory = place.ancestors().find(|path| root.join(path).is_dir());
        cover(root, directory.ok_or(denied)?)?;
        make()?;
    }
    MountPoint::open(root, place)
}

/// Mounts a file system in memory over `directory` below `root`, with all entries that the
/// directory had before.
fn cover(root: &Path, directory: &Path) -> io::Result<()> {
    let covered = MountPoint::open(root, directory)?;
    let entries: Vec<fs::DirEntry> = fs::read_dir(covered.path())?.collect::<io::Result<_>>()?;
    let tmpfs = Tmpfs {
        mode: 0o755,
        ..Tmpfs::default()
    };
    mounts::mount_memory(&covered, &tmpfs, false)?;
    let cover = open_beneath(root, directory, false).map_err(|error| error.source)?;
    for entry in entries {
        let (source, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlinkat(fs::read_link(&source)?, &cover, name)?;
            continue;
        }
        let place = directory.join(name);
        make_beneath(root, &place, kind.is_dir())?;
        mounts::bind(&source, &MountPoint::open(root, &place)?.path())?;
    }
    Ok(())
}
