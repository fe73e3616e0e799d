//! Core files: none of this process, whose memory may hold passwords, but those of the programs it
//! starts as the user wants them.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the user had set.
static WANTED: OnceLock<Rlimit> = OnceLock::new();

/// Has the kernel write no core file of this process.
pub fn forbid_core_files() {
    let wanted = *WANTED.get_or_init(|| getrlimit(Resource::Core));
    let none = Rlimit {
        current: Some(0),
        ..wanted
    };
    // Lowering what is one's own is never refused.
    let _ = setrlimit(Resource::Core, none);
}

/// Sets what the user had, between fork and execution: makes one system call.
pub(super) fn allow_core_files() -> io::Result<()> {
    match WANTED.get() {
        Some(wanted) => Ok(setrlimit(Resource::Core, *wanted)?),
        None => Ok(()),
    }
}
