//! Core files. This process writes none, since its memory may contain passwords. The programs that
//! it starts get the limit that the user had set.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that the user had set.
static WANTED: OnceLock<Rlimit> = OnceLock::new();

/// Keeps the kernel from writing a core file of this process or passing one to a program.
///
/// The limit is one byte, into which no core file fits. A limit of zero would not keep the kernel
/// from starting the program that `core_pattern` may name; this one does.
///
/// Source: Linux, `fs/coredump.c`, on `RLIMIT_CORE` and pipes.
pub fn forbid_core_files() {
    let wanted = *WANTED.get_or_init(|| getrlimit(Resource::Core));
    let none = Rlimit {
        current: Some(wanted.maximum.unwrap_or(1).min(1)),
        ..wanted
    };
    // A process may always set its own soft limit, up to the hard limit.
    let _ = setrlimit(Resource::Core, none);
}

/// Restores the user's limit. Called between fork and exec; it makes one system call.
pub(super) fn allow_core_files() -> io::Result<()> {
    match WANTED.get() {
        Some(wanted) => Ok(setrlimit(Resource::Core, *wanted)?),
        None => Ok(()),
    }
}
