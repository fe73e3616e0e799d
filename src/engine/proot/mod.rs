//! Modes P1 and P2: PRoot, embedded as a static executable.
//!
//! `args` says what PRoot is told, `binary` finds a place to execute it from, `launch` starts it.

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

/// What is embedded, as `build.rs` found it.
pub mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// The outcome of a run, unless it is PRoot's own: of a program that a signal ended, PRoot tells by
/// its status.
///
/// # Errors
/// It may have used up the time that a process has.
pub(super) fn own_end(outcome: RunOutcome) -> Result<RunOutcome, EngineError> {
    match outcome {
        RunOutcome::Signaled(libc::SIGKILL | libc::SIGXCPU) if has_processor_limit() => {
            Err(EngineError::ProcessorTime)
        }
        outcome => Ok(outcome),
    }
}

/// What a PRoot can be relied on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// The main process's status is PRoot's, signals reach it, and `--kill-on-exit` neither
    /// hangs nor forgets anybody: the patches of `vendor-proot/`.
    pub(crate) follows_main_process: bool,
    /// `--bind-rw` and `--bind-ro`: two arguments that are taken as they are, and read-only binds
    /// that are.
    pub(crate) own_bind_options: bool,
    /// `--attributes`: owners, modes and devices that emulated root has made are shown to it.
    pub(crate) remembers_attributes: bool,
}

impl Features {
    /// Those of the embedded PRoot.
    pub(crate) const EMBEDDED: Features = Features {
        follows_main_process: embedded::IS_OURS,
        own_bind_options: embedded::IS_OURS,
        remembers_attributes: embedded::IS_OURS,
    };

    /// Those of one that the user has brought.
    pub(crate) const OTHER: Features = Features {
        follows_main_process: false,
        own_bind_options: false,
        remembers_attributes: false,
    };

    /// Those of the PRoot that `options` choose.
    pub(crate) fn of(options: &EngineOptions) -> Features {
        match options.other_proot {
            Some(_) => Features::OTHER,
            None => Features::EMBEDDED,
        }
    }
}
