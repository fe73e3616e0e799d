//! Mode R1: a user namespace and a mount namespace.
//!
//! `ids` and `ranges` map user ids, `mounts` and `cover` mount what the guest sees, `mount_points`
//! creates mount points in the root tree and removes them again, `emulation` is a seccomp filter
//! for emulated root, and `steps` does all this in the process that becomes the guest. `refusal`
//! remembers that a host does not allow namespaces.
//!
//! By default the guest stays in the host's PID namespace, as in PRoot: programs that find each
//! other by process id (MPI, debuggers, job control) work across containers. The guest still cannot
//! trace or inspect processes outside: the kernel allows that to no process in a child user
//! namespace. Root inside does not have `CAP_SYS_ADMIN`, as in Docker: it could make read-only
//! mounts writable with it.

mod cover;
mod emulation;
mod error;
mod ids;
mod mount_points;
mod mounts;
mod ranges;
mod refusal;
mod steps;

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

pub use error::{Cause, NamespaceError, Unavailable};
pub use ranges::Grant;
pub use refusal::RefusalNote;

use self::emulation::Filter;
use self::ids::{IdMap, SingleId};
use self::mount_points::MountPoints;
use self::ranges::Ranges;
use self::steps::{Part, Steps};
use rustix::fs::OFlags;
use rustix::thread::UnshareFlags;

use super::{EngineError, RunOutcome};
use crate::host::fs::open_note;
use crate::host::process::{self, PreExec, PreExecPlan, Supervised};
use crate::spec::{ExecMode, ID_RANGES_FILE, Identity, Processes, RunSpec};

/// Finds out whether this host allows namespaces: a fork of this process enters some, which takes
/// about a millisecond.
///
/// # Errors
/// The host does not allow them, or this process cannot fork.
pub fn probe() -> Result<(), EngineError> {
    let steps = Steps::of_probe();
    process::run_in_fork(|| steps.take(Part::All))
        .map_err(|error| steps.explain(&error, ExecMode::R1, OsStr::new("")))
}

/// Finds out whether the caller's subordinate ids can be mapped: a fork of this process does it.
///
/// # Errors
/// The caller has none, or they cannot be mapped.
pub fn probe_ranges() -> io::Result<()> {
    let ranges = Ranges::granted().ok_or(io::ErrorKind::NotFound)?;
    process::run_in_fork(|| ranges.enter(UnshareFlags::empty()))
}

/// Makes this process root in a user namespace with the caller's subordinate ids, and returns
/// whether that worked. It may then change files that containers with these ids have created; files
/// that it creates belong to the caller as before. Only for a process with one thread.
pub fn enter_ranges() -> bool {
    Ranges::granted().is_some_and(|ranges| ranges.enter(UnshareFlags::empty()).is_ok())
}

/// How root inside gets to do what an unprivileged user cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emulation {
    /// By subordinate ids if the caller has them, else by a filter.
    RangesOrFilter,
    /// By a filter.
    Filter,
    /// By a tracer: the program that is run is PRoot.
    Tracer,
}

/// Whether other users are only emulated, since no subordinate ids are mapped for them.
pub(super) fn imitates_users(spec: &RunSpec, id_ranges: bool) -> bool {
    is_root(spec) && !(id_ranges && Ranges::granted().is_some())
}

fn is_root(spec: &RunSpec) -> bool {
    spec.identity == Identity::Emulated { uid: 0, gid: 0 }
}

/// Runs a container in namespaces.
///
/// # Errors
/// A step fails, see [`NamespaceError`]; the host does not allow namespaces; or the command cannot
/// be executed.
pub(super) fn launch(spec: &RunSpec, emulation: Emulation) -> Result<RunOutcome, EngineError> {
    let explain = |failure: Failure| {
        let program = spec.argv.program();
        failure.steps.explain(&failure.error, spec.mode, program)
    };
    let wants_ranges = is_root(spec) && emulation == Emulation::RangesOrFilter;
    if let Some(ranges) = wants_ranges.then(Ranges::granted).flatten() {
        // It only marks a container that has files of other ids, so a failure is ignored.
        let _ = open_note(spec.directory.as_path(), ID_RANGES_FILE, OFlags::empty());
        match enter(spec, &IdMap::Ranges(ranges), None) {
            Err(failure) if failure.steps.lacks_ranges(&failure.error) => {}
            result => return result.map_err(explain),
        }
    }
    let id = SingleId::of(spec.identity);
    let filter = match emulation {
        Emulation::RangesOrFilter | Emulation::Filter => Filter::for_root(id),
        Emulation::Tracer => None,
    };
    enter(spec, &IdMap::Single(id), filter).map_err(explain)
}

/// An error code, and the steps that it can be explained with.
struct Failure {
    steps: Arc<Steps>,
    error: io::Error,
}

fn enter(spec: &RunSpec, ids: &IdMap, filter: Option<Filter>) -> Result<RunOutcome, Failure> {
    let steps = Arc::new(Steps::of(spec, ids, filter.clone()));
    match supervise(spec, &steps) {
        // A container around this process hides parts of `/proc`, so the kernel allows no other
        // one. The host's PID namespace will do: there the supervisor reaps orphans.
        Err(error) if spec.processes == Processes::Reaped && steps.lacks_processes(&error) => {
            let processes = Processes::Hosts;
            let spec = RunSpec {
                processes,
                ..spec.clone()
            };
            enter(&spec, ids, filter)
        }
        result => result.map_err(|error| Failure { steps, error }),
    }
}

fn supervise(spec: &RunSpec, steps: &Arc<Steps>) -> io::Result<RunOutcome> {
    let points = MountPoints::make(spec);
    let arguments: Vec<OsString> = spec.argv.iter().skip(1).map(OsString::from).collect();
    let environment: Vec<(&OsStr, &OsStr)> = spec.env.iter().collect();
    let take = |part: Part| -> PreExec {
        let steps = Arc::clone(steps);
        Box::new(move || steps.take(part))
    };
    let supervised = Supervised {
        program: spec.argv.program(),
        arguments: &arguments,
        environment: &environment,
        entry: match spec.processes {
            Processes::Hosts => PreExecPlan::Program(take(Part::All)),
            Processes::Reaped | Processes::Own => PreExecPlan::Init {
                supervisor: take(Part::Outside),
                init: take(Part::Inside),
            },
        },
        afterwards: &|| points.remove(),
    };
    supervised.run()
}
