//! Forks of this process that do not execute another program.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use rustix::process::Pid;

use super::RunOutcome;

/// A fork of this process, as its parent sees it. Its outcome is reported through a pipe.
pub(super) struct Forked {
    pub(super) pid: Pid,
    /// Until the fork is let go.
    gate: Option<PipeWriter>,
    report: PipeReader,
}

/// Holds a fork until its parent lets it go.
pub(super) struct Gate(PipeReader);

impl Gate {
    /// Waits for the parent.
    ///
    /// # Errors
    /// The parent has died, or given up, before it let the fork go.
    pub(super) fn pass(mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0])
    }
}

impl Forked {
    pub(super) fn start(body: impl FnOnce(Gate) -> io::Result<RunOutcome>) -> io::Result<Forked> {
        let (report, to_report) = io::pipe()?;
        let (to_pass, gate) = io::pipe()?;
        let Some(pid) = fork()? else {
            let _exit = ExitWhenDropped;
            drop((report, gate));
            self::report(to_report, &body(Gate(to_pass)));
            return Err(io::ErrorKind::Other.into());
        };
        let gate = Some(gate);
        Ok(Forked { pid, gate, report })
    }

    /// Lets the fork pass its gate. A fork that has already ended has reported why. If the write
    /// fails for another reason, the closed gate lets the fork fail instead of wait.
    pub(super) fn let_go(mut self) -> Forked {
        if let Some(mut gate) = self.gate.take() {
            let _ = gate.write_all(&[0]);
        }
        self
    }

    /// The reported outcome; `None` if the fork was killed before it could report one.
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

/// Writes five bytes: the kind of outcome, and a number in the byte order of the machine.
fn report(mut to: PipeWriter, result: &io::Result<RunOutcome>) {
    let (what, number) = match result {
        Ok(RunOutcome::Exited(status)) => (0, i32::from(*status)),
        Ok(RunOutcome::Signaled(signal)) => (1, *signal),
        Err(error) => (2, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let mut message = [what; 5];
    message[1..].copy_from_slice(&number.to_ne_bytes());
    // The parent may have ended; then the report is not needed.
    let _ = to.write_all(&message);
}

/// Ends a fork without the cleanup that is its parent's task, such as flushing buffers and removing
/// temporary files; also if the fork panics.
struct ExitWhenDropped;

impl Drop for ExitWhenDropped {
    fn drop(&mut self) {
        #[allow(
            unsafe_code,
            reason = "the standard library has no exit without cleanup"
        )]
        // SAFETY: the call does not return, so no state of the process matters.
        unsafe {
            libc::_exit(0)
        }
    }
}

/// Returns the child's process id in the parent, and `None` in the child.
fn fork() -> io::Result<Option<Pid>> {
    #[allow(unsafe_code, reason = "no crate in use forks")]
    // SAFETY: this process has one thread; or else the child takes no lock but that of the
    // allocator, which glibc keeps usable after a fork.
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
