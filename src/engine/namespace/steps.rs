//! What the process that becomes the guest does before it executes the command.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::process::{chdir, chroot, pivot_root};
use rustix::system::sethostname;
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set};

use super::emulation::Filter;
use super::error::{NamespaceError, Unavailable};
use super::ids::{IdMap, SingleId};
use super::mounts::{self, Mount};
use super::ranges::Ranges;
use crate::engine::EngineError;
use crate::host::process::unshare;
use crate::spec::{Access, ExecMode, GuestPath, HostName, HostPath, Identity, Processes, RunSpec};

/// One of them.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Namespaces(UnshareFlags),
    NamespacesWithRanges(UnshareFlags, Ranges),
    Id(SingleId),
    /// Those that the first process of a process namespace has for itself: its supervisor keeps the
    /// host's root directory and `/proc`, which it needs in the end.
    FurtherNamespaces(UnshareFlags),
    HostName(HostName),
    Separate,
    Root(HostPath),
    SealRoot(HostPath),
    Mount(Mount),
    Pivot(HostPath),
    Directory(GuestPath),
    Capabilities,
    Emulation(Filter),
    /// The end of a probe: checks that the root has changed.
    CheckRoot,
}

/// All of them, in their order.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step>);

/// Some of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Up to where a process namespace gets its first process.
    Outside,
    /// What that process does.
    Inside,
}

impl Part {
    fn has(self, step: &Step) -> bool {
        let is_outside = matches!(
            step,
            Step::Namespaces(_) | Step::NamespacesWithRanges(..) | Step::Id(_)
        );
        match self {
            Part::All => true,
            Part::Outside => is_outside,
            Part::Inside => !is_outside,
        }
    }
}

/// Errors carry the number of the step, from 1, above that many bits of the system's error.
const ERRNO_BITS: u32 = 16;

impl Steps {
    /// Decides on them.
    pub(super) fn of(spec: &RunSpec, ids: &IdMap, filter: Option<Filter>) -> Steps {
        let mounts = spec.binds.iter();
        let mounts = mounts.map(|bind| Step::Mount(Mount::of(spec, bind)));
        let mut flags = UnshareFlags::NEWNS;
        flags.set(UnshareFlags::NEWUTS, spec.host_name.is_some());
        let (first, further) = match spec.processes {
            Processes::Hosts => (flags, None),
            Processes::Reaped | Processes::Own => (UnshareFlags::NEWPID, Some(flags)),
        };
        let host_name = spec.host_name.clone().map(Step::HostName);
        let seal = Step::SealRoot(spec.root.clone());
        let seal = (spec.root_access == Access::ReadOnly).then_some(seal);
        let inside = further
            .map(Step::FurtherNamespaces)
            .into_iter()
            .chain(host_name);
        let mut steps = Steps::to_root(first, ids, inside, &spec.root);
        steps.0.extend(seal);
        steps.0.extend(mounts);
        steps
            .0
            .extend(leaves_root(&spec.root).then(|| Step::Pivot(spec.root.clone())));
        steps
            .0
            .extend([Step::Directory(spec.cwd.clone()), Step::Capabilities]);
        steps.0.extend(filter.map(Step::Emulation));
        steps
    }

    /// Those that need nothing but the host's permission.
    pub(super) fn of_probe() -> Steps {
        // A directory that is always there, and whose content shows that the root has changed.
        let root = HostPath::proc();
        let ids = IdMap::Single(SingleId::of(Identity::Caller));
        let mut steps = Steps::to_root(UnshareFlags::NEWNS, &ids, None, &root);
        steps.0.extend([Step::Pivot(root), Step::CheckRoot]);
        steps
    }

    fn to_root(
        flags: UnshareFlags,
        ids: &IdMap,
        inside: impl IntoIterator<Item = Step>,
        root: &HostPath,
    ) -> Steps {
        let flags = UnshareFlags::NEWUSER | flags;
        let mut steps = Steps(match ids {
            IdMap::Single(single) => vec![Step::Namespaces(flags), Step::Id(*single)],
            IdMap::Ranges(ranges) => vec![Step::NamespacesWithRanges(flags, ranges.clone())],
        });
        steps.0.extend(inside);
        steps.0.push(Step::Separate);
        steps
            .0
            .extend(leaves_root(root).then(|| Step::Root(root.clone())));
        steps
    }

    /// Takes them all, or only those of one part.
    ///
    /// # Errors
    /// One fails; the number in the error is for [`Steps::explain`].
    pub(super) fn take(&self, part: Part) -> io::Result<()> {
        let numbered = (1..).zip(&self.0);
        for (number, step) in numbered.filter(|(_, step)| part.has(step)) {
            step.take().map_err(|error| encode(number, &error))?;
        }
        Ok(())
    }

    /// Whether the error is that of ranges which cannot be mapped after all.
    pub(super) fn lacks_ranges(&self, error: &io::Error) -> bool {
        matches!(self.failed(error), Some(Step::NamespacesWithRanges(..)))
    }

    /// Whether the error says that no `/proc` of its own can be had.
    pub(super) fn lacks_processes(&self, error: &io::Error) -> bool {
        matches!(self.failed(error), Some(Step::Mount(mount)) if mount.shows_processes())
    }

    fn failed(&self, error: &io::Error) -> Option<&Step> {
        let code = error.raw_os_error().unwrap_or_default();
        let number = usize::try_from(code >> ERRNO_BITS).ok()?;
        self.0.get(number.checked_sub(1)?)
    }

    /// Says what an error of [`Steps::take`], or one of the execution of `program` after it, means
    /// for `mode`.
    pub(super) fn explain(
        &self,
        error: &io::Error,
        mode: ExecMode,
        program: &OsStr,
    ) -> EngineError {
        let code = error.raw_os_error().unwrap_or_default();
        let source = io::Error::from_raw_os_error(code & ((1 << ERRNO_BITS) - 1));
        let Some(step) = self.failed(error) else {
            return EngineError::Execute {
                command: program.to_string_lossy().into_owned(),
                source,
            };
        };
        let source = match (step, source.raw_os_error()) {
            (Step::Root(_) | Step::Mount(_), Some(libc::ENOSPC)) => {
                io::Error::other("there are too many mounts, or the disk is full")
            }
            _ => source,
        };
        let error = NamespaceError {
            step: step.to_string(),
            source,
        };
        if step.is_about_host() {
            return EngineError::Unavailable {
                mode,
                reason: Unavailable::because_of(error),
            };
        }
        error.into()
    }
}

/// Whether the root directory becomes another one; with `--location=/` it is the host's.
fn leaves_root(root: &HostPath) -> bool {
    *root != HostPath::root()
}

fn encode(number: i32, error: &io::Error) -> io::Error {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    io::Error::from_raw_os_error(number << ERRNO_BITS | errno)
}

impl Step {
    fn take(&self) -> io::Result<()> {
        match self {
            Step::Namespaces(flags) | Step::FurtherNamespaces(flags) => unshare(*flags),
            Step::NamespacesWithRanges(flags, ranges) => ranges.enter(*flags),
            Step::Id(id) => id.write(),
            Step::HostName(name) => Ok(sethostname(name.as_str().as_bytes())?),
            Step::Separate => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                Ok(mount_change("/", flags)?)
            }
            Step::Root(root) => mounts::bind(root.as_path(), root.as_path()),
            Step::SealRoot(root) => mounts::make_read_only(root.as_path()),
            Step::Mount(mount) => mount.mount(),
            Step::Pivot(root) => pivot(root.as_path()),
            Step::Directory(path) => enter(path.as_path()),
            Step::Capabilities => Ok(remove_capability_from_bounding_set(
                CapabilitySet::SYS_ADMIN,
            )?),
            Step::Emulation(filter) => filter.install(),
            Step::CheckRoot if Path::new("/self").exists() => Ok(()),
            // The kernel, or a tracer in its place, only claims to have entered namespaces.
            Step::CheckRoot => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        }
    }

    fn is_about_host(&self) -> bool {
        matches!(
            self,
            Step::Namespaces(_)
                | Step::FurtherNamespaces(_)
                | Step::Id(_)
                | Step::Separate
                | Step::Pivot(_)
                | Step::CheckRoot
        )
    }
}

/// Makes `root` the root and lets go of everything else. The old root comes to lie over the new
/// one, from where it is unmounted; so it needs no place inside.
fn pivot(root: &Path) -> io::Result<()> {
    chdir(root)?;
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        // The file system that a kernel boots from cannot be left, as on nodes that keep their
        // system in memory. It is covered instead, as switch_root(8) does: since the new root lies
        // on the root itself, `..` leads nowhere.
        Err(Errno::INVAL) => {
            mount_move(".", "/")?;
            chroot(".")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(chdir("/")?)
}

/// The image's working directory, if it is in a file system in memory, is not there yet.
fn enter(directory: &Path) -> io::Result<()> {
    match chdir(directory) {
        Err(Errno::NOENT) => {
            fs::create_dir_all(directory)?;
            Ok(chdir(directory)?)
        }
        result => Ok(result?),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Namespaces(_) => f.write_str("make a user namespace"),
            Step::NamespacesWithRanges(..) => f.write_str("make a user namespace with id ranges"),
            Step::FurtherNamespaces(_) => f.write_str("make a mount namespace"),
            Step::Id(_) => f.write_str("map user ids"),
            Step::HostName(name) => write!(f, "set the host name '{name}'"),
            Step::Separate => f.write_str("separate mounts from the host's"),
            Step::Root(root) => write!(f, "mount the root directory '{root}'"),
            Step::SealRoot(root) => write!(f, "make the root directory '{root}' read-only"),
            Step::Mount(mount) => write!(f, "mount {mount}"),
            Step::Pivot(root) => write!(f, "change the root directory to '{root}'"),
            Step::Directory(path) => write!(f, "enter the working directory '{path}'"),
            Step::Capabilities => f.write_str("drop capabilities"),
            Step::Emulation(_) => f.write_str("install the filter for system calls"),
            Step::CheckRoot => f.write_str("find the new root directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_the_step_that_failed() {
        let steps = Steps(vec![
            Step::Namespaces(UnshareFlags::NEWUSER),
            Step::Capabilities,
            Step::Root(HostPath::root()),
        ]);
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        let failed = |errno| {
            (
                io::Error::from_raw_os_error(errno),
                "command 'prog' cannot ",
            )
        };
        let (absent, absent_part) = failed(libc::ENOENT);
        let (crowded, crowded_part) = failed(libc::EAGAIN);
        for (error, part, is_about_host, status) in [
            (
                encode(1, &denied),
                "cannot make a user namespace: ",
                true,
                125,
            ),
            (encode(2, &denied), "cannot drop capabilities: ", false, 125),
            (encode(3, &full), "too many mounts", false, 125),
            (denied, "command 'prog' cannot be executed: ", false, 126),
            (absent, absent_part, false, 127),
            (crowded, crowded_part, false, 125),
        ] {
            let explained = steps.explain(&error, ExecMode::R1, OsStr::new("prog"));
            let told = explained.to_string();
            assert!(told.contains(part), "{told}");
            let is_unavailable = matches!(explained, EngineError::Unavailable { .. });
            assert_eq!(is_unavailable, is_about_host, "{told}");
            assert_eq!(explained.exit_status(), status, "{told}");
        }
    }
}
