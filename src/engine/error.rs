//! Why a container did not start.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::namespace::{NamespaceError, Unavailable};
use crate::host::fs::FsError;
use crate::spec::{ExecMode, HostPath};

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine for that mode.
    #[error("execution mode {0} is not available")]
    Mode(ExecMode),
    /// Mode S1 without the program that it is about.
    #[error("mode S1 cannot be used: neither apptainer nor singularity is in PATH")]
    NoApptainer,
    /// Apptainer has no way to say this path.
    #[error("cannot bind '{}': Apptainer cannot bind paths with a colon or a comma", .0.display())]
    Separator(PathBuf),
    /// The CPUs of `--cpuset-cpus` cannot be used.
    #[error("cannot stay on the wanted CPUs: {0}")]
    Cpus(#[source] io::Error),
    /// PRoot has no way to say this path.
    #[error("cannot bind '{0}': PRoot cannot bind host paths with a colon")]
    ColonInSource(HostPath),
    /// Something that the container needs cannot be written.
    #[error(transparent)]
    Prepare(#[from] FsError),
    /// Namespaces are not allowed here.
    #[error("mode {mode} cannot be used: {reason}")]
    Unavailable {
        /// What was asked for.
        mode: ExecMode,
        /// What keeps it away.
        reason: Unavailable,
    },
    /// Namespaces cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel does not execute the command.
    #[error("command '{command}' cannot be executed: {source}")]
    Execute {
        /// Its first word.
        command: String,
        /// The system's answer.
        source: io::Error,
    },
    /// PRoot itself was ended where processor time is limited.
    #[error(
        "PRoot was ended, perhaps by the limit of processor time (`ulimit -t`): what it does for all programs inside counts as its own; mode R1 has no tracer"
    )]
    ProcessorTime,
    /// The engine's executable finds no place from which it can be executed.
    #[error("cannot unpack the engine: no place is both writable and executable (tried {})", tried(.0))]
    NoPlace(Vec<PathBuf>),
    /// The engine's executable does not start.
    #[error("cannot start the engine '{}': {source}", path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl EngineError {
    /// The exit status for this: nothing was started, so 125. That the command is missing or not
    /// executable is found out when the run is planned, but for what only the kernel knows.
    pub fn exit_status(&self) -> u8 {
        let EngineError::Execute { source, .. } = self else {
            return 125;
        };
        match Errno::from_io_error(source) {
            Some(Errno::NOENT) => 127,
            Some(
                Errno::ACCESS
                | Errno::PERM
                | Errno::NOEXEC
                | Errno::TOOBIG
                | Errno::TXTBSY
                | Errno::LOOP
                | Errno::NOTDIR,
            ) => 126,
            // There are too many processes, or there is no memory left.
            _ => 125,
        }
    }
}

fn tried(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| format!("'{}'", path.display()))
        .collect();
    paths.join(", ")
}
