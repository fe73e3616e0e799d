//! Forks of this process that go on without executing anything else.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use rustix::process::Pid;

use super::RunOutcome;

/// A fork of this process that leads a life of its own, and reports how that ended.
pub(super) struct Forked {
    pub(super) pid: Pid,
    gate: PipeWriter,
    report: PipeReader,
}

/// Where a fork waits until it is let go.
pub(super) struct Gate(PipeReader);

impl Gate {
    /// Fails if the parent has died before it let go.
    pub(super) fn pass(mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0])
    }
}

impl Forked {
    pub(super) fn start(life: impl FnOnce(Gate) -> io::Result<RunOutcome>) -> io::Result<Forked> {
        let (report, to_report) = io::pipe()?;
        let (to_pass, gate) = io::pipe()?;
        let Some(pid) = fork()? else {
            let _exit = ExitWhenDropped;
            drop((report, gate));
            self::report(to_report, &life(Gate(to_pass)));
            return Err(io::ErrorKind::Other.into());
        };
        Ok(Forked { pid, gate, report })
    }

    /// Lets the fork pass its gate. A fork that has ended before has reported why.
    pub(super) fn let_go(mut self) -> Forked {
        let _ = self.gate.write_all(&[0]);
        self
    }

    /// `None` when it did not live to report.
    pub(super) fn read_report(mut self) -> Option<io::Result<RunOutcome>> {
        let mut message = [0; 5];
        self.report.read_exact(&mut message).ok()?;
        let [what, number @ ..] = message;
        let number = i32::from_ne_bytes(number);
        Some(match what {
            0 => Ok(RunOutcome::Exited(number.to_le_bytes()[0])),
            1 => Ok(RunOutcome::Signaled(number)),
            _ => Err(io::Error::from_raw_os_error(number)),
        })
    }
}

/// Five bytes: what happened, and a number in the byte order of the machine.
fn report(mut to: PipeWriter, result: &io::Result<RunOutcome>) {
    let (what, number) = match result {
        Ok(RunOutcome::Exited(status)) => (0, i32::from(*status)),
        Ok(RunOutcome::Signaled(signal)) => (1, *signal),
        Err(error) => (2, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let mut message = [what; 5];
    message[1..].copy_from_slice(&number.to_ne_bytes());
    // If nobody reads it, nobody wants to know.
    let _ = to.write_all(&message);
}

/// Ends a forked process without what its original does at its end, such as writing out buffers
/// and removing temporary files; also when it panics.
struct ExitWhenDropped;

impl Drop for ExitWhenDropped {
    fn drop(&mut self) {
        #[allow(unsafe_code, reason = "the library offers no other safe way")]
        // SAFETY: ends the process, whatever state it is in.
        unsafe {
            libc::_exit(0)
        }
    }
}

/// Returns the child's process id, and `None` in the child.
fn fork() -> io::Result<Option<Pid>> {
    #[allow(unsafe_code, reason = "no crate in use forks")]
    // SAFETY: there is one thread at this point, or glibc makes its allocator usable in the child,
    // which takes no other lock.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn a_fork_that_ends_before_its_gate_is_heard() {
        let refused = || Err(io::Error::from_raw_os_error(libc::ENOSPC));
        let fork = Forked::start(|_gate| refused()).unwrap();
        let ended = WaitIdOptions::EXITED;
        waitid(WaitId::Pid(fork.pid), ended).unwrap();
        let error = fork.let_go().read_report().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}
