//! Turns a [`RunSpec`] into a running process, and returns its outcome.
//!
//! The engines are [`proot`], [`namespace`], `nested` (PRoot in namespaces), and `apptainer`, which
//! needs Apptainer on the host. Each is a module that takes a `RunSpec`; [`run`] selects one.

mod apptainer;
mod error;
pub mod filter;
pub mod namespace;
mod nested;
mod prepare;
pub mod proot;
mod view;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use crate::host::process::RunOutcome;
pub use error::EngineError;
pub use view::HostView;

use self::apptainer::Apptainer;
use self::namespace::Emulation;
use crate::host::process;
use crate::spec::{Access, Bind, ExecMode, Identity, Processes, RunSpec, SHARED_MEMORY, Tmpfs};

/// Settings that the engines need besides the spec.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The directory that engine executables are unpacked to.
    pub bin_dir: PathBuf,
    /// Directories that may be shared with other users. If neither `bin_dir` nor memory can be
    /// used, engine executables are unpacked to a private directory in one of these.
    pub fallback_dirs: Vec<PathBuf>,
    /// The directory for temporary files. It has to exist.
    pub tmp_dir: PathBuf,
    /// A PRoot to use instead of the embedded one.
    pub other_proot: Option<PathBuf>,
    /// The Apptainer or Singularity for mode S1, instead of the one in `search_path`.
    pub other_apptainer: Option<PathBuf>,
    /// Whether PRoot works without seccomp in all modes.
    pub no_seccomp: bool,
    /// The directories, separated by colons, in which mode S1 looks for Apptainer.
    pub search_path: OsString,
    /// Whether root in namespaces gets the caller's subordinate id ranges.
    pub id_ranges: bool,
}

/// A part of the spec that the engine cannot fulfil, though it can run the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortcoming {
    /// A PRoot without our patches has no read-only binds.
    ReadOnlyNotEnforced,
    /// PRoot shows the host's name.
    HostName,
    /// PRoot shows the host's processes.
    Processes,
    /// PRoot and Apptainer show the host's `/dev/shm`, so its size is the host's.
    SharedMemory,
    /// PRoot and Apptainer show a directory of the host in place of a tmpfs.
    Tmpfs,
    /// Apptainer supports only root and the caller as user.
    User,
}

impl Shortcoming {
    /// Whether the container gets access that the user wanted to deny, rather than missing
    /// something.
    pub fn is_dangerous(self) -> bool {
        self == Shortcoming::ReadOnlyNotEnforced
    }
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortcoming::ReadOnlyNotEnforced => {
                f.write_str("what is to be read-only stays writable: this PRoot cannot enforce it")
            }
            Shortcoming::HostName => {
                f.write_str("--hostname has no effect: it has the host's name")
            }
            Shortcoming::Processes => {
                f.write_str("--pid has no effect: it sees the host's processes")
            }
            Shortcoming::SharedMemory => {
                f.write_str("--shm-size has no effect: /dev/shm is the host's")
            }
            Shortcoming::Tmpfs => {
                f.write_str("the options of --tmpfs have no effect: it is a directory of the host")
            }
            Shortcoming::User => {
                f.write_str("--user has no effect: Apptainer knows root and yourself only")
            }
        }
    }
}

/// What the user should be warned of before the start.
pub fn shortcomings(spec: &RunSpec, options: &EngineOptions) -> Vec<Shortcoming> {
    let mut in_memory: Vec<Shortcoming> = spec.binds.iter().filter_map(of_memory).collect();
    in_memory.sort();
    in_memory.dedup();
    match Engine::of(spec, options) {
        Ok(Engine::Proot { .. }) => {}
        Ok(Engine::Apptainer(_)) => {
            let is_other = matches!(spec.identity, Identity::Emulated { uid: 1.., .. });
            let user = is_other.then_some(Shortcoming::User);
            return user.into_iter().chain(in_memory).collect();
        }
        _ => return Vec::new(),
    }
    let is_read_only = |bind: &Bind| bind.access == Access::ReadOnly;
    let enforced = proot::Features::of(options).own_bind_options;
    let is_sealed = spec.root_access == Access::ReadOnly || spec.binds.iter().any(is_read_only);
    [
        (is_sealed && !enforced, Shortcoming::ReadOnlyNotEnforced),
        (spec.host_name.is_some(), Shortcoming::HostName),
        (spec.processes == Processes::Own, Shortcoming::Processes),
    ]
    .into_iter()
    .filter_map(|(is_so, shortcoming)| is_so.then_some(shortcoming))
    .chain(in_memory)
    .collect()
}

/// The shortcoming of a bind that should be a tmpfs, in an engine that cannot mount one.
fn of_memory(bind: &Bind) -> Option<Shortcoming> {
    let is_plain = bind.tmpfs? == Tmpfs::default();
    match bind.target.as_path() == Path::new(SHARED_MEMORY) {
        true => Some(Shortcoming::SharedMemory),
        false => (!is_plain).then_some(Shortcoming::Tmpfs),
    }
}

/// Whether the host has the program that mode S1 starts.
pub fn has_apptainer(options: &EngineOptions) -> bool {
    apptainer::is_available(options)
}

/// Whether other users are only emulated, so that programs which switch to one of them may fail.
pub fn imitates_users(spec: &RunSpec, options: &EngineOptions) -> bool {
    matches!(Engine::of(spec, options), Ok(Engine::Namespace))
        && namespace::imitates_users(spec, options.id_ranges)
}

/// Finds out whether PRoot works on this host, if the container needs it.
///
/// # Errors
/// The mode has no engine, or PRoot cannot be started or cannot trace.
pub fn check_tracer(spec: &RunSpec, options: &EngineOptions) -> Result<(), EngineError> {
    match Engine::of(spec, options)? {
        Engine::Proot { seccomp } | Engine::Nested { seccomp } => proot::probe(options, seccomp),
        Engine::Namespace | Engine::Apptainer(_) => Ok(()),
    }
}

/// Runs a container to its end.
///
/// The calling thread has to outlive the container, so it is best the main thread: the guest dies
/// with the thread that started it.
///
/// # Errors
/// The container cannot be started; see [`EngineError::exit_status`].
pub fn run(spec: &RunSpec, options: &EngineOptions) -> Result<RunOutcome, EngineError> {
    let engine = Engine::of(spec, options)?;
    // The namespace engine makes its own mount points.
    let wants_mount_points = matches!(engine, Engine::Proot { .. } | Engine::Apptainer(_));
    let unwritten = prepare::carry_out(&spec.preparations, wants_mount_points)?;
    let is_there = |bind: &&Bind| !unwritten.contains(&&bind.source);
    let spec = &RunSpec {
        binds: spec.binds.iter().filter(is_there).cloned().collect(),
        ..spec.clone()
    };
    if let Some(cpus) = &spec.cpus {
        process::stay_on_cpus(cpus.iter()).map_err(EngineError::Cpus)?;
    }
    match engine {
        Engine::Namespace if options.id_ranges => {
            namespace::launch(spec, Emulation::RangesOrFilter)
        }
        Engine::Namespace => namespace::launch(spec, Emulation::Filter),
        Engine::Apptainer(apptainer) => apptainer.launch(spec, options),
        Engine::Nested { seccomp } => nested::launch(spec, options, seccomp),
        Engine::Proot { seccomp } => proot::launch(spec, options, seccomp),
    }
}

/// The engine that runs a container.
enum Engine {
    Apptainer(Apptainer),
    Namespace,
    /// PRoot in namespaces.
    Nested {
        seccomp: bool,
    },
    Proot {
        seccomp: bool,
    },
}

impl Engine {
    fn of(spec: &RunSpec, options: &EngineOptions) -> Result<Engine, EngineError> {
        match spec.mode {
            // Some parts of a spec need a tracer, whatever the mode.
            ExecMode::R1 if !spec.needs_tracer() => Ok(Engine::Namespace),
            ExecMode::S1 if !spec.needs_tracer() => {
                Apptainer::of(spec, options).map(Engine::Apptainer)
            }
            // The emulator is a program of the host, which is not visible in the namespaces.
            ExecMode::R2 if spec.emulator.is_none() => Ok(Engine::Nested {
                seccomp: !options.no_seccomp,
            }),
            ExecMode::R3 if spec.emulator.is_none() => Ok(Engine::Nested { seccomp: false }),
            ExecMode::R1 | ExecMode::R2 | ExecMode::S1 | ExecMode::P1 => Ok(Engine::Proot {
                seccomp: !options.no_seccomp,
            }),
            ExecMode::R3 | ExecMode::P2 => Ok(Engine::Proot { seccomp: false }),
            other => Err(EngineError::Mode(other)),
        }
    }
}
