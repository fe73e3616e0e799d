//! The steps that the process that becomes the guest takes before it executes the command.

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

/// A step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Unshare(UnshareFlags),
    UnshareWithRanges(UnshareFlags, Ranges),
    MapIds(SingleId),
    /// Taken by the first process of a PID namespace alone: its supervisor keeps the host's root
    /// directory and `/proc`, which it needs after the run.
    UnshareInit(UnshareFlags),
    HostName(HostName),
    MakePrivate,
    BindRoot(HostPath),
    MakeRootReadOnly(HostPath),
    Mount(Mount),
    Pivot(HostPath),
    ChangeDirectory(GuestPath),
    DropCapabilities,
    InstallFilter(Filter),
    /// The end of a probe: checks that the root has changed.
    CheckRoot,
}

/// All steps, in order.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step>);

/// A selection of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// The steps of the supervisor, before the first process of a PID namespace is forked.
    Outside,
    /// The steps of that first process.
    Inside,
}

impl Part {
    fn has(self, step: &Step) -> bool {
        let is_outside = matches!(
            step,
            Step::Unshare(_) | Step::UnshareWithRanges(..) | Step::MapIds(_)
        );
        match self {
            Part::All => true,
            Part::Outside => is_outside,
            Part::Inside => !is_outside,
        }
    }
}

/// An error code is the number of the step, from 1, shifted by this many bits, plus the `errno`.
const ERRNO_BITS: u32 = 16;

impl Steps {
    /// The steps for a container.
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
        let seal = Step::MakeRootReadOnly(spec.root.clone());
        let seal = (spec.root_access == Access::ReadOnly).then_some(seal);
        let inside = further.map(Step::UnshareInit).into_iter().chain(host_name);
        let mut steps = Steps::to_root(first, ids, inside, &spec.root);
        steps.0.extend(seal);
        steps.0.extend(mounts);
        steps
            .0
            .extend(leaves_root(&spec.root).then(|| Step::Pivot(spec.root.clone())));
        steps.0.extend([
            Step::ChangeDirectory(spec.cwd.clone()),
            Step::DropCapabilities,
        ]);
        steps.0.extend(filter.map(Step::InstallFilter));
        steps
    }

    /// Steps that depend only on what the host allows.
    pub(super) fn of_probe() -> Steps {
        // A directory that always exists, and whose entries show that the root has changed.
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
            IdMap::Single(single) => vec![Step::Unshare(flags), Step::MapIds(*single)],
            IdMap::Ranges(ranges) => vec![Step::UnshareWithRanges(flags, ranges.clone())],
        });
        steps.0.extend(inside);
        steps.0.push(Step::MakePrivate);
        steps
            .0
            .extend(leaves_root(root).then(|| Step::BindRoot(root.clone())));
        steps
    }

    /// Takes the steps of `part`.
    ///
    /// # Errors
    /// A step fails; the error code is for [`Steps::explain`].
    pub(super) fn take(&self, part: Part) -> io::Result<()> {
        let numbered = (1..).zip(&self.0);
        for (number, step) in numbered.filter(|(_, step)| part.has(step)) {
            step.take().map_err(|error| encode(number, &error))?;
        }
        Ok(())
    }

    /// Whether the error is that the subordinate ids could not be mapped.
    pub(super) fn lacks_ranges(&self, error: &io::Error) -> bool {
        matches!(self.failed(error), Some(Step::UnshareWithRanges(..)))
    }

    /// Whether the error is that a new `/proc` could not be mounted.
    pub(super) fn lacks_processes(&self, error: &io::Error) -> bool {
        matches!(self.failed(error), Some(Step::Mount(mount)) if mount.shows_processes())
    }

    fn failed(&self, error: &io::Error) -> Option<&Step> {
        let code = error.raw_os_error().unwrap_or_default();
        let number = usize::try_from(code >> ERRNO_BITS).ok()?;
        self.0.get(number.checked_sub(1)?)
    }

    /// Turns an error of [`Steps::take`], or of the execution of `program` after it, into an error
    /// with a message for `mode`.
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
            (Step::BindRoot(_) | Step::Mount(_), Some(libc::ENOSPC)) => {
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

/// Whether the container has another root directory than the host; with `--location=/` it has not.
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
            Step::Unshare(flags) | Step::UnshareInit(flags) => unshare(*flags),
            Step::UnshareWithRanges(flags, ranges) => ranges.enter(*flags),
            Step::MapIds(id) => id.write(),
            Step::HostName(name) => Ok(sethostname(name.as_str().as_bytes())?),
            Step::MakePrivate => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                Ok(mount_change("/", flags)?)
            }
            Step::BindRoot(root) => mounts::bind(root.as_path(), root.as_path()),
            Step::MakeRootReadOnly(root) => mounts::make_read_only(root.as_path()),
            Step::Mount(mount) => mount.mount(),
            Step::Pivot(root) => pivot(root.as_path()),
            Step::ChangeDirectory(path) => enter(path.as_path()),
            Step::DropCapabilities => Ok(remove_capability_from_bounding_set(
                CapabilitySet::SYS_ADMIN,
            )?),
            Step::InstallFilter(filter) => filter.install(),
            Step::CheckRoot if Path::new("/self").exists() => Ok(()),
            // A tracer, or a kernel that is emulated, only pretended to take the steps.
            Step::CheckRoot => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        }
    }

    fn is_about_host(&self) -> bool {
        matches!(
            self,
            Step::Unshare(_)
                | Step::UnshareInit(_)
                | Step::MapIds(_)
                | Step::MakePrivate
                | Step::Pivot(_)
                | Step::CheckRoot
        )
    }
}

/// Makes `root` the root directory and detaches the old one. `pivot_root(".", ".")` puts the old
/// root on top of the new one, where it is unmounted, so no directory inside is needed for it.
fn pivot(root: &Path) -> io::Result<()> {
    chdir(root)?;
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        // `pivot_root` cannot leave the initial ramfs, which diskless nodes keep as their root. So
        // the new root is moved on top of it, as switch_root(8) does; `..` does not lead out of it.
        Err(Errno::INVAL) => {
            mount_move(".", "/")?;
            chroot(".")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(chdir("/")?)
}

/// Changes the working directory, and creates it if it is missing because it is in a tmpfs.
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
            Step::Unshare(_) => f.write_str("make a user namespace"),
            Step::UnshareWithRanges(..) => f.write_str("make a user namespace with id ranges"),
            Step::UnshareInit(_) => f.write_str("make a mount namespace"),
            Step::MapIds(_) => f.write_str("map user ids"),
            Step::HostName(name) => write!(f, "set the host name '{name}'"),
            Step::MakePrivate => f.write_str("separate mounts from the host's"),
            Step::BindRoot(root) => write!(f, "mount the root directory '{root}'"),
            Step::MakeRootReadOnly(root) => write!(f, "make the root directory '{root}' read-only"),
            Step::Mount(mount) => write!(f, "mount {mount}"),
            Step::Pivot(root) => write!(f, "change the root directory to '{root}'"),
            Step::ChangeDirectory(path) => write!(f, "enter the working directory '{path}'"),
            Step::DropCapabilities => f.write_str("drop capabilities"),
            Step::InstallFilter(_) => f.write_str("install the filter for system calls"),
            Step::CheckRoot => f.write_str("find the new root directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_failed_step() {
        let steps = Steps(vec![
            Step::Unshare(UnshareFlags::NEWUSER),
            Step::DropCapabilities,
            Step::BindRoot(HostPath::root()),
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
