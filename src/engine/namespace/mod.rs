//! Mode R1: a user namespace and a mount namespace of our own.
//!
//! `ids` says who the guest is, `mounts` what it sees, `points` makes what mounts lie on and takes
//! it away again, `emulation` lets root do what an ordinary user cannot, `steps` does it all in the
//! process that becomes the guest. `refusal` remembers where the host does not allow it.
//!
//! Unless it asks for its own, the guest keeps the host's process namespace, as in PRoot: programs
//! that find each other by process id (MPI, debuggers, job control) work across containers. What it
//! cannot do is act on processes outside: the kernel lets nobody in a user namespace trace or
//! inspect those of its parent. Nor does root inside hold `CAP_SYS_ADMIN`, as in Docker: with it, it
//! could make read-only mounts writable.

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
use std::path::Path;
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
use crate::host::fs::open_file_beneath;
use crate::host::process::{self, PreExec, PreExecPlan, Supervised};
use crate::spec::{ExecMode, ID_RANGES_FILE, Identity, Processes, RunSpec};

/// Finds out whether this host allows namespaces, by entering some. Takes about a millisecond.
///
/// # Errors
/// It does not, or no process can be started.
pub fn probe() -> Result<(), EngineError> {
    let steps = Steps::of_probe();
    process::run_in_fork(|| steps.take(Part::All))
        .map_err(|error| steps.explain(&error, ExecMode::R1, OsStr::new("")))
}

/// Finds out whether the ids that are granted to the caller can be mapped, by doing it in a process
/// that ends at once.
///
/// # Errors
/// There are none, or they cannot.
pub fn probe_ranges() -> io::Result<()> {
    let ranges = Ranges::granted().ok_or(io::ErrorKind::NotFound)?;
    process::run_in_fork(|| ranges.enter(UnshareFlags::empty()))
}

/// Makes this process root of the id ranges that are granted to the caller, and returns whether
/// that worked. It may then touch what containers that ran with these ranges have left; what it
/// makes itself belongs to the caller as before. Only for a process with one thread.
pub fn enter_ranges() -> bool {
    Ranges::granted().is_some_and(|ranges| ranges.enter(UnshareFlags::empty()).is_ok())
}

/// Who lets root inside do what its user cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emulation {
    /// The kernel, where ranges of ids are granted to the caller; else a filter.
    RangesOrFilter,
    /// A filter.
    Filter,
    /// A tracer, which is what runs.
    Tracer,
}

/// Whether root inside only imitates other users: no ids are granted for them.
pub(super) fn imitates_users(spec: &RunSpec, id_ranges: bool) -> bool {
    is_root(spec) && !(id_ranges && Ranges::granted().is_some())
}

fn is_root(spec: &RunSpec) -> bool {
    spec.identity == Identity::Emulated { uid: 0, gid: 0 }
}

/// Runs a container in namespaces.
///
/// # Errors
/// A step fails; see [`NamespaceError`].
pub(super) fn launch(spec: &RunSpec, emulation: Emulation) -> Result<RunOutcome, EngineError> {
    let explain = |failure: Failure| {
        let program = spec.argv.program();
        failure.steps.explain(&failure.error, spec.mode, program)
    };
    let wants_ranges = is_root(spec) && emulation == Emulation::RangesOrFilter;
    if let Some(ranges) = wants_ranges.then(Ranges::granted).flatten() {
        // Where it cannot be made, nobody hears that it is missing.
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let _ = open_file_beneath(spec.directory.as_path(), Path::new(ID_RANGES_FILE), flags);
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

/// An error, and the steps that explain it.
struct Failure {
    steps: Arc<Steps>,
    error: io::Error,
}

fn enter(spec: &RunSpec, ids: &IdMap, filter: Option<Filter>) -> Result<RunOutcome, Failure> {
    let steps = Arc::new(Steps::of(spec, ids, filter.clone()));
    match supervise(spec, &steps) {
        // A container around this one hides parts of its `/proc`. Orphans are reaped all the same,
        // by the supervisor; only who asked for processes of its own would miss them.
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
