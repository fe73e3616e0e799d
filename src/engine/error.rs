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
    /// There is no engine for this mode.
    #[error("execution mode {0} is not available")]
    Mode(ExecMode),
    /// Mode S1 without Apptainer or Singularity.
    #[error("mode S1 cannot be used: neither apptainer nor singularity is in PATH")]
    NoApptainer,
    /// Apptainer's `--bind` cannot express this path.
    #[error("cannot bind '{}': Apptainer cannot bind paths with a colon or a comma", .0.display())]
    Separator(PathBuf),
    /// The CPUs of `--cpuset-cpus` cannot be used.
    #[error("cannot stay on the wanted CPUs: {0}")]
    Cpus(#[source] io::Error),
    /// The `-b` of an unpatched PRoot cannot express this path.
    #[error("cannot bind '{0}': PRoot cannot bind host paths with a colon")]
    ColonInSource(HostPath),
    /// A file or directory that the container needs cannot be written.
    #[error(transparent)]
    Prepare(#[from] FsError),
    /// The host does not allow user namespaces.
    #[error("mode {mode} cannot be used: {reason}")]
    Unavailable {
        /// The mode that the user asked for.
        mode: ExecMode,
        /// Why namespaces are not allowed.
        reason: Unavailable,
    },
    /// A step into the container's namespaces failed.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel refused to execute the command.
    #[error("command '{command}' cannot be executed: {source}")]
    Execute {
        /// The command's first word.
        command: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A signal ended PRoot itself, and the processor time is limited.
    #[error(
        "PRoot was ended, perhaps by the limit of processor time (`ulimit -t`): what it does for all programs inside counts as its own; mode R1 has no tracer"
    )]
    ProcessorTime,
    /// No directory is both writable and executable, so the engine cannot be unpacked.
    #[error("cannot unpack the engine: no place is both writable and executable (tried {})", tried(.0))]
    NoPlace(Vec<PathBuf>),
    /// The engine's executable cannot be started.
    #[error("cannot start the engine '{}': {source}", path.display())]
    Start {
        /// The executable.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl EngineError {
    /// The exit status of udocker for this error: 125, since the command was not started, or 127
    /// and 126 if the kernel did not find it or refused to execute it. Most such commands are found
    /// when the run is planned, see [`crate::spec::SpecError`].
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
