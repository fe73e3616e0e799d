//! Modes P1 and P2: PRoot, embedded as a static executable.
//!
//! `args` says what PRoot is told, `binary` finds a place to execute it from, `launch` starts it.

mod args;
mod binary;
mod launch;

use super::EngineOptions;
pub use binary::{install, licences};
pub(super) use launch::launch;

/// What is embedded, as `build.rs` found it.
pub mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
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
}

impl Features {
    /// Those of the embedded PRoot.
    pub(crate) const EMBEDDED: Features = Features {
        follows_main_process: embedded::IS_OURS,
        own_bind_options: embedded::IS_OURS,
    };

    /// Those of one that the user has brought.
    pub(crate) const OTHER: Features = Features {
        follows_main_process: false,
        own_bind_options: false,
    };

    /// Those of the PRoot that `options` choose.
    pub(crate) fn of(options: &EngineOptions) -> Features {
        match options.other_proot {
            Some(_) => Features::OTHER,
            None => Features::EMBEDDED,
        }
    }
}
