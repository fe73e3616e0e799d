//! Modes P1 and P2: PRoot, embedded as a static executable.
//!
//! `args` builds the arguments, `binary` unpacks the executable, `launch` starts it.

mod args;
mod binary;
mod launch;

use super::{EngineError, EngineOptions, RunOutcome};
use crate::host::process::has_processor_limit;
pub(super) use args::{arguments, environment};
pub(super) use binary::Unpacked;
pub use binary::{install, licences};
pub use launch::probe;
pub(super) use launch::{launch, unpacked_to_bind};

/// The embedded files, as `build.rs` found them.
pub mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// Returns the outcome of a run, unless a signal has ended PRoot itself. (If a signal ends the
/// guest, PRoot exits with a status.)
///
/// # Errors
/// The signal is one that the kernel sends at the limit of processor time, and there is a limit.
pub(super) fn check_outcome(outcome: RunOutcome) -> Result<RunOutcome, EngineError> {
    match outcome {
        RunOutcome::Signaled(libc::SIGKILL | libc::SIGXCPU) if has_processor_limit() => {
            Err(EngineError::ProcessorTime)
        }
        outcome => Ok(outcome),
    }
}

/// The features of a PRoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// PRoot exits with the main process's status and passes signals on to it, and `--kill-on-exit`
    /// neither hangs nor misses a process: thanks to the patches in `vendor-proot/`.
    pub(crate) follows_main_process: bool,
    /// `--bind-rw` and `--bind-ro`, which take two paths literally, and which enforce read-only
    /// binds.
    pub(crate) own_bind_options: bool,
    /// `--attributes`, which remembers the owners, modes and devices that emulated root has set.
    pub(crate) remembers_attributes: bool,
}

impl Features {
    /// The features of the embedded PRoot.
    pub(crate) const EMBEDDED: Features = Features {
        follows_main_process: embedded::IS_OURS,
        own_bind_options: embedded::IS_OURS,
        remembers_attributes: embedded::IS_OURS,
    };

    /// The features of the user's own PRoot.
    pub(crate) const OTHER: Features = Features {
        follows_main_process: false,
        own_bind_options: false,
        remembers_attributes: false,
    };

    /// The features of the PRoot that `options` select.
    pub(crate) fn of(options: &EngineOptions) -> Features {
        match options.other_proot {
            Some(_) => Features::OTHER,
            None => Features::EMBEDDED,
        }
    }
}
