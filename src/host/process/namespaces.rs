//! Leaving namespaces for new ones.

use std::io;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use rustix::thread::UnshareFlags;

use super::RunOutcome;
use super::forked::Forked;

/// Leaves the namespaces that `flags` names for new ones.
///
/// # Errors
/// The system refuses.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    let flags = flags - UnshareFlags::FILES;
    #[allow(unsafe_code, reason = "rustix has no safe variant for harmless flags")]
    // SAFETY: the only flag that could be unsafe is taken out.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The same with the help of a process that stays behind: once this one has left, `help` is called
/// there with the id of this one.
///
/// # Errors
/// The system refuses; what `help` returned, as far as [`io::Error::raw_os_error`] tells.
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
    // If this fails, the gate stays shut, and the helper ends.
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
