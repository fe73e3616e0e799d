//! Moves this process into new namespaces.

use std::io;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use rustix::thread::UnshareFlags;

use super::RunOutcome;
use super::forked::Forked;

/// Moves this process into new namespaces of the kinds that `flags` names.
///
/// # Errors
/// The kernel refuses.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    let flags = flags - UnshareFlags::FILES;
    #[allow(unsafe_code, reason = "rustix has no safe variant for harmless flags")]
    // SAFETY: the only unsafe flag has been removed.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The same with the help of a fork that keeps the old namespaces: once this process has left them,
/// the fork calls `help` with the id of this process.
///
/// # Errors
/// The kernel refuses, or `help` fails; only [`io::Error::raw_os_error`] of its error arrives.
pub fn unshare_with_id_mapper(
    flags: UnshareFlags,
    help: impl FnOnce(Pid) -> io::Result<()>,
) -> io::Result<()> {
    let target = getpid();
    let helper = Forked::start(|gate| {
        gate.pass()?;
        help(target)?;
        Ok(RunOutcome::Exited(0))
    })?;
    let pid = helper.pid;
    // If this fails, the helper is not let go, and ends.
    let helped = unshare(flags).and_then(|()| {
        helper
            .let_go()
            .read_report()
            .unwrap_or_else(|| Err(broken()))
    });
    waitpid(Some(pid), WaitOptions::empty())?;
    helped.map(drop)
}

fn broken() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
