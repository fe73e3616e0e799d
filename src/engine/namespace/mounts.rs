//! Mounts the binds of a container.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_move,
    mount_remount,
};

use super::cover;
use crate::host::fs::open_file_beneath;
use crate::spec::{Access, Bind, GuestPath, HostPath, Processes, RunSpec, Tmpfs};

/// A mount of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    content: Content,
    target: GuestPath,
    root: PathBuf,
    read_only: bool,
    is_default: bool,
}

impl Mount {
    pub(super) fn of(spec: &RunSpec, bind: &Bind) -> Mount {
        let proc = HostPath::proc();
        let shows_processes = bind.source == proc && bind.target.as_path() == proc.as_path();
        let content = match bind.tmpfs {
            Some(tmpfs) => Content::Memory(tmpfs),
            None if shows_processes && spec.processes != Processes::Hosts => Content::Processes,
            None => Content::Host(bind.source.clone()),
        };
        Mount {
            content,
            target: bind.target.clone(),
            root: spec.root.as_path().to_path_buf(),
            read_only: bind.access == Access::ReadOnly,
            is_default: bind.is_default,
        }
    }

    /// Whether it is the `/proc` of a PID namespace.
    pub(super) fn shows_processes(&self) -> bool {
        self.content == Content::Processes
    }

    pub(super) fn mount(&self) -> io::Result<()> {
        match self.mount_content() {
            // Without this `/proc` the guest would see the host's processes.
            Err(_) if self.is_default && !self.shows_processes() => Ok(()),
            result => result,
        }
    }

    fn mount_content(&self) -> io::Result<()> {
        let is_directory = match &self.content {
            Content::Host(source) => source.as_path().is_dir(),
            Content::Memory(_) | Content::Processes => true,
        };
        let point = cover::open_mount_point(&self.root, self.target.below_root(), is_directory)?;
        match &self.content {
            Content::Host(source) if self.read_only => {
                let staging = Path::new(match is_directory {
                    true => STAGING_DIRECTORY,
                    false => STAGING_FILE,
                });
                self.bind(source.as_path(), staging)?;
                make_read_only(staging)?;
                Ok(mount_move(staging, point.path())?)
            }
            Content::Host(source) => self.bind(source.as_path(), &point.path()),
            Content::Memory(tmpfs) => mount_memory(&point, tmpfs, self.read_only),
            Content::Processes => {
                let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                flags.set(MountFlags::RDONLY, self.read_only);
                Ok(mount("proc", point.path(), "proc", flags, None)?)
            }
        }
    }

    fn bind(&self, source: &Path, place: &Path) -> io::Result<()> {
        match self.is_default {
            true => bind(source, place),
            false => bind_without(&self.root, source, place),
        }
    }
}

/// The directory where a mount is made read-only before it is moved to its mount point. The mounts
/// of a tree are made read-only one by one, by their paths, and a guest that already runs in the
/// root tree could exchange the mount point for another directory meanwhile. Names in `/proc` do
/// not change. Every `/proc` has this one, even one with `subset=pid`, and container engines mount
/// nothing on it.
const STAGING_DIRECTORY: &str = "/proc/self/task";

/// The same for the mount of a file.
const STAGING_FILE: &str = "/proc/self/comm";

/// An open mount point, which stays the same if its path comes to lead elsewhere.
pub(super) struct MountPoint(File);

impl MountPoint {
    /// Opens `place` below `root`. Symbolic links below `root` are not followed.
    pub(super) fn open(root: &Path, place: &Path) -> io::Result<MountPoint> {
        open_file_beneath(root, place, OFlags::PATH).map(MountPoint)
    }

    /// A path to the mount point, for system calls that take paths. After something was mounted on
    /// it, this path still leads to what is underneath.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// The source of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Host(HostPath),
    Memory(Tmpfs),
    /// A `/proc` for the guest's own PID namespace.
    Processes,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Host(source) => write!(f, "'{source}' at '{}'", self.target),
            Content::Memory(_) => write!(f, "a file system in memory at '{}'", self.target),
            Content::Processes => write!(f, "'{}' for processes of its own", self.target),
        }
    }
}

/// Mounts a new tmpfs.
pub(super) fn mount_memory(point: &MountPoint, tmpfs: &Tmpfs, read_only: bool) -> io::Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::NOEXEC, !tmpfs.executable);
    flags.set(MountFlags::RDONLY, read_only);
    let options = CString::new(tmpfs.to_string()).map_err(io::Error::other)?;
    let place = point.path();
    Ok(mount("tmpfs", place, "tmpfs", flags, options.as_c_str())?)
}

/// Binds `source` recursively. In a user namespace the kernel refuses a bind without the mounts
/// below `source`, since it would uncover what they hide.
pub(super) fn bind(source: &Path, place: &Path) -> io::Result<()> {
    Ok(mount_bind_recursive(source, place)?)
}

/// The same for a source that may contain `root`: the mounts of the container itself are left out,
/// or each such bind would double their number.
fn bind_without(root: &Path, source: &Path, place: &Path) -> io::Result<()> {
    let (real_root, real_source) = (fs::canonicalize(root)?, fs::canonicalize(source)?);
    if real_root == real_source || !real_root.starts_with(real_source) {
        return bind(source, place);
    }
    // A recursive bind leaves out unbindable mounts.
    mount_change(root, MountPropagationFlags::UNBINDABLE)?;
    let bound = bind(source, place);
    mount_change(root, MountPropagationFlags::PRIVATE)?;
    bound
}

/// Makes the mount at `place`, and the mounts below it, read-only.
///
/// `mount_setattr` could do that in one call, but not before Linux 5.12.
pub(super) fn make_read_only(place: &Path) -> io::Result<()> {
    let table = fs::read("/proc/self/mountinfo")?;
    // The paths in the table contain no links.
    let place = fs::canonicalize(place)?;
    for (path, flags) in mounted_below(&table, &place) {
        // The flags that the host has set must be repeated, or the kernel refuses.
        let flags = flags | MountFlags::RDONLY | MountFlags::BIND;
        match mount_remount(&path, flags, "") {
            // A mount that is covered by another one, and so not visible in the guest either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) if path != place => {}
            result => result?,
        }
    }
    Ok(())
}

/// The paths and flags of the mounts at `place` and below. Of several mounts at one path, the table
/// lists the visible one last, and only that one can be changed.
fn mounted_below(table: &[u8], place: &Path) -> BTreeMap<PathBuf, MountFlags> {
    let mounts = table.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = unescape(fields.nth(4)?);
        let flags = flags(fields.next()?);
        path.starts_with(place).then_some((path, flags))
    });
    mounts.collect()
}

/// Replaces escapes such as `\040`, which stand for white space and backslashes.
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
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use rustix::thread::UnshareFlags;

    use super::super::ids::SingleId;
    use super::*;
    use crate::host::process::{run_in_fork, unshare};
    use crate::spec::{ExecMode, Identity};

    /// A guest that already runs in the tree may put a link there after the run was planned.
    #[test]
    fn a_link_in_place_of_a_mount_point_leads_no_mount_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["ROOT", "source/in", "elsewhere"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        symlink(at("elsewhere"), at("ROOT/data")).unwrap();
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let bind = Bind {
                source: HostPath::new(at("source")).unwrap(),
                target: GuestPath::new("/data").unwrap(),
                access,
                tmpfs: None,
                is_default: false,
            };
            let spec = RunSpec {
                root: HostPath::new(at("ROOT")).unwrap(),
                ..RunSpec::plain(ExecMode::R1)
            };
            let mount = Mount::of(&spec, &bind);
            in_namespaces(UnshareFlags::empty(), || match mount.mount() {
                Err(_) if !at("elsewhere/in").exists() => Ok(()),
                _ => Err(io::Error::from_raw_os_error(libc::EEXIST)),
            });
        }
    }

    /// Enters namespaces that others may be entered from.
    fn enter_namespaces(further: UnshareFlags) -> io::Result<()> {
        let id = SingleId::of(Identity::Caller);
        unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | further)?;
        id.write()?;
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        Ok(mount_change("/", flags)?)
    }

    /// Skips the test, as integration tests do, where this host allows no namespaces.
    fn in_namespaces(further: UnshareFlags, action: impl FnOnce() -> io::Result<()>) {
        if super::super::probe().is_err() {
            let skip = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/skip.sh");
            let skipped = Command::new(skip).arg("no user namespaces here").status();
            return assert!(skipped.unwrap().success(), "a skip is not permitted");
        }
        run_in_fork(|| enter_namespaces(further).and_then(|()| action())).unwrap();
    }

    fn is_read_only(place: &Path) -> io::Result<()> {
        let flags = rustix::fs::statvfs(place)?.f_flag;
        match flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOTRECOVERABLE)),
        }
    }

    /// In namespaces inside, the flags that the upper mount got outside cannot be taken away, and
    /// the lower one lacks them.
    #[test]
    fn a_mount_on_top_of_another_one_is_made_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("source")).unwrap();
        fs::create_dir(at("place")).unwrap();
        let memory = |place: &Path, flags| mount("tmpfs", place, "tmpfs", flags, None);
        in_namespaces(UnshareFlags::empty(), || {
            memory(&at("source"), MountFlags::NOEXEC)?;
            run_in_fork(|| {
                enter_namespaces(UnshareFlags::empty())?;
                memory(&at("place"), MountFlags::empty())?;
                bind(&at("source"), &at("place"))?;
                make_read_only(&at("place"))?;
                is_read_only(&at("place"))
            })
        });
    }

    #[test]
    fn read_only_binds_need_only_the_processes_in_proc() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["ROOT/data", "source"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("ROOT/file"), "").unwrap();
        let mounts = [("source", "/data"), ("ROOT/file", "/file")].map(|(source, target)| Mount {
            content: Content::Host(HostPath::new(at(source)).unwrap()),
            target: GuestPath::new(target).unwrap(),
            root: at("ROOT"),
            read_only: true,
            is_default: false,
        });
        in_namespaces(UnshareFlags::NEWPID, || {
            run_in_fork(|| {
                let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                match mount("proc", "/proc", "proc", flags, Some(c"subset=pid")) {
                    // A container around the tests hides parts of `/proc`, or Linux is older.
                    Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => return Ok(()),
                    mounted => mounted?,
                }
                for mount in &mounts {
                    mount.mount()?;
                }
                is_read_only(&at("ROOT/data"))?;
                is_read_only(&at("ROOT/file"))
            })
        });
    }

    #[test]
    fn mount_table_is_parsed() {
        let table = b"1 0 8:1 / / rw,relatime - ext4 /dev/sda rw\n\
            2 1 0:5 / /a rw,nosuid,nodev - tmpfs t rw\n\
            3 2 0:6 / /a/b\\040c ro,noexec,relatime - tmpfs t rw\n\
            4 3 0:7 / /a/b\\040c rw,noatime - tmpfs t rw\n\
            5 1 0:6 / /ab rw - tmpfs t rw\n";
        let expected = BTreeMap::from([
            (PathBuf::from("/a"), MountFlags::NOSUID | MountFlags::NODEV),
            (PathBuf::from("/a/b c"), MountFlags::NOATIME),
        ]);
        assert_eq!(mounted_below(table, Path::new("/a")), expected);
    }

    #[test]
    fn mount_table_escapes_are_decoded() {
        for (field, path) in [("/a", "/a"), (r"/\134\0401", "/\\ 1"), (r"/\04", r"/\04")] {
            assert_eq!(unescape(field.as_bytes()), Path::new(path), "{field}");
        }
    }
}
