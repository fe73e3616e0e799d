//! From a [`RunSpec`] to a running process, and back to how it ended.
//!
//! PRoot is the only engine so far. Another one is a module beside [`proot`] that takes the same
//! `RunSpec`, and a line in [`run`].

mod error;
mod prepare;
pub mod proot;
mod view;

use std::fmt;
use std::path::PathBuf;

pub use error::EngineError;
pub use view::HostView;

use crate::host::process::{self, Ended};
use crate::spec::{Access, Bind, ExecMode, RunSpec};

/// How a container's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// With this status.
    Exited(u8),
    /// By this signal, where the engine can tell; PRoot says 128+N instead.
    Signaled(i32),
}

impl RunOutcome {
    /// What `udocker run` returns: the status, or 128+N after signal N.
    pub fn exit_status(self) -> u8 {
        match self {
            RunOutcome::Exited(status) => status,
            RunOutcome::Signaled(signal) => (128 + signal).to_le_bytes()[0],
        }
    }
}

impl From<Ended> for RunOutcome {
    fn from(ended: Ended) -> RunOutcome {
        match ended {
            Ended::Exited(status) => RunOutcome::Exited(status),
            Ended::Signaled(signal) => RunOutcome::Signaled(signal),
        }
    }
}

/// What engines need besides the spec.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where engine executables are unpacked.
    pub bin_dir: PathBuf,
    /// Where they are unpacked when that cannot be, and memory will not do either.
    pub fallback_dirs: Vec<PathBuf>,
    /// For temporary files; has to exist.
    pub tmp_dir: PathBuf,
    /// Another PRoot than the embedded one.
    pub other_proot: Option<PathBuf>,
    /// Whether to do without seccomp whatever the mode.
    pub no_seccomp: bool,
}

/// Something the engine cannot do, though it can run the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcoming {
    /// A PRoot without our patches knows no read-only binds.
    ReadOnlyNotEnforced,
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortcoming::ReadOnlyNotEnforced => {
                f.write_str("read-only volumes stay writable: this PRoot cannot enforce `:ro`")
            }
        }
    }
}

/// What the user should know before the start.
pub fn shortcomings(spec: &RunSpec, options: &EngineOptions) -> Vec<Shortcoming> {
    let is_read_only = |bind: &Bind| bind.access == Access::ReadOnly;
    let enforced = proot::Features::of(options).own_bind_options;
    if !enforced && spec.binds.iter().any(is_read_only) {
        vec![Shortcoming::ReadOnlyNotEnforced]
    } else {
        Vec::new()
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
    let seccomp = match spec.mode {
        ExecMode::P1 => !options.no_seccomp,
        ExecMode::P2 => false,
        other => return Err(EngineError::Mode(other)),
    };
    prepare::carry_out(&spec.preparations)?;
    if let Some(cpus) = &spec.cpus {
        process::stay_on_cpus(cpus.iter()).map_err(EngineError::Cpus)?;
    }
    proot::launch(spec, options, seccomp)
}
