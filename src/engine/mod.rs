//! From a [`RunSpec`] to a running process, and back to how it ended.
//!
//! There are two engines, [`proot`] and [`namespace`], `nested`, the one in the other, and
//! `apptainer`, where the host has that. Another one is a module beside them that takes the same
//! `RunSpec`, and a line in [`run`].

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

use self::namespace::Emulation;
use crate::host::process;
use crate::spec::{Access, Bind, ExecMode, Identity, Processes, RunSpec, SHARED_MEMORY, Tmpfs};

/// What engines need besides the spec.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where engine executables are unpacked.
    pub bin_dir: PathBuf,
    /// Where they are unpacked when that cannot be, and memory will not do either: in a directory
    /// of the caller's own.
    pub fallback_dirs: Vec<PathBuf>,
    /// For temporary files; has to exist.
    pub tmp_dir: PathBuf,
    /// Another PRoot than the embedded one.
    pub other_proot: Option<PathBuf>,
    /// What mode S1 starts, instead of looking for it.
    pub other_apptainer: Option<PathBuf>,
    /// Whether to do without seccomp whatever the mode.
    pub no_seccomp: bool,
    /// Directories separated by colons, in which mode S1 finds Apptainer.
    pub search_path: OsString,
    /// Whether root in namespaces gets the id ranges that are granted to the caller.
    pub id_ranges: bool,
}

/// Something the engine cannot do, though it can run the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortcoming {
    /// A PRoot without our patches knows no read-only binds.
    ReadOnlyNotEnforced,
    /// PRoot shows the name of the host.
    HostName,
    /// PRoot shows the host's processes.
    Processes,
    /// Neither PRoot nor Apptainer mounts another one, so the size of `/dev/shm` is the host's.
    SharedMemory,
    /// For the same reason a directory in memory is one of the host.
    Tmpfs,
    /// Apptainer has one id only, that of root or the caller's.
    User,
}

impl Shortcoming {
    /// Whether the run can do harm that it was meant not to do; else it only goes without.
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

/// What the user should know before the start.
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

/// What is lost where the bind is not mounted as the file system in memory that it stands for.
fn of_memory(bind: &Bind) -> Option<Shortcoming> {
    let is_plain = bind.tmpfs? == Tmpfs::default();
    match bind.target.as_path() == Path::new(SHARED_MEMORY) {
        true => Some(Shortcoming::SharedMemory),
        false => (!is_plain).then_some(Shortcoming::Tmpfs),
    }
}

/// Whether there is what mode S1 starts.
pub fn has_apptainer(options: &EngineOptions) -> bool {
    apptainer::is_there(options)
}

/// Whether other users are only imitated, so that programs which become one of them may fail.
pub fn imitates_users(spec: &RunSpec, options: &EngineOptions) -> bool {
    matches!(Engine::of(spec, options), Ok(Engine::Namespace))
        && namespace::imitates_users(spec, options.id_ranges)
}

/// Finds out whether PRoot works on this host, where it is what runs the container.
///
/// # Errors
/// It does not.
pub fn check_tracer(spec: &RunSpec, options: &EngineOptions) -> Result<(), EngineError> {
    match Engine::of(spec, options)? {
        Engine::Proot { seccomp } | Engine::Nested { seccomp } => proot::probe(options, seccomp),
        Engine::Namespace | Engine::Apptainer(_) => Ok(()),
    }
}

/// Runs a container to its end.
///
/// To be called by a thread that outlives the container, best the main one: the guest dies with
/// the thread that started it.
///
/// # Errors
/// It cannot be started; see [`EngineError::exit_status`].
pub fn run(spec: &RunSpec, options: &EngineOptions) -> Result<RunOutcome, EngineError> {
    let engine = Engine::of(spec, options)?;
    // Namespaces make their own.
    let wants_mount_points = matches!(engine, Engine::Proot { .. } | Engine::Apptainer(_));
    prepare::carry_out(&spec.preparations, wants_mount_points)?;
    if let Some(cpus) = &spec.cpus {
        process::stay_on_cpus(cpus.iter()).map_err(EngineError::Cpus)?;
    }
    match engine {
        Engine::Namespace if options.id_ranges => {
            namespace::launch(spec, Emulation::RangesOrFilter)
        }
        Engine::Namespace => namespace::launch(spec, Emulation::Filter),
        Engine::Apptainer(start) => start.launch(spec, options),
        Engine::Nested { seccomp } => nested::launch(spec, options, seccomp),
        Engine::Proot { seccomp } => proot::launch(spec, options, seccomp),
    }
}

/// What carries a mode out.
enum Engine {
    Apptainer(apptainer::Start),
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
            // Native speed is no use where the container would not do what was asked for.
            ExecMode::R1 if !spec.needs_tracer() => Ok(Engine::Namespace),
            ExecMode::S1 if !spec.needs_tracer() => {
                apptainer::Start::plan(spec, options).map(Engine::Apptainer)
            }
            // The emulator is a program of the host, which nothing in a namespace can see.
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
