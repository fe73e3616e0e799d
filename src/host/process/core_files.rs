//! Core files: none of this process, whose memory may hold passwords, but those of the programs it
//! starts as the user wants them.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the user had set.
static WANTED: OnceLock<Rlimit> = OnceLock::new();

/// Has the kernel write no core file of this process, nor hand one to a program.
///
/// No file fits into one byte; and this limit alone also keeps the kernel from starting the program
/// that `core_pattern` may name, which it does even where the limit is zero.
///
/// Source: Linux, `fs/coredump.c`, on `RLIMIT_CORE` and pipes.
pub fn forbid_core_files() {
    let wanted = *WANTED.get_or_init(|| getrlimit(Resource::Core));
    let none = Rlimit {
        current: Some(wanted.maximum.unwrap_or(1).min(1)),
        ..wanted
    };
    // Changing what is one's own, up to the maximum, is never refused.
    let _ = setrlimit(Resource::Core, none);
}

/// Sets what the user had, between fork and execution: makes one system call.
pub(super) fn allow_core_files() -> io::Result<()> {
    match WANTED.get() {
        Some(wanted) => Ok(setrlimit(Resource::Core, *wanted)?),
        None => Ok(()),
    }
}
