//! The controlling terminal. A shell in a PID namespace cannot give it back at its end, since its
//! caller's process group has no id in there.

use std::fs::File;

use rustix::process::{Signal, getpgrp, test_kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::signals::without_signal;

/// The controlling terminal of a process in the foreground process group.
pub(super) struct Terminal(File);

impl Terminal {
    /// `None` if there is no terminal, or another process group is in the foreground.
    pub(super) fn held() -> Option<Terminal> {
        let terminal = File::open("/dev/tty").ok()?;
        (tcgetpgrp(&terminal).ok()? == getpgrp()).then_some(Terminal(terminal))
    }

    /// Makes this process's group the foreground group again if the current one has no process
    /// left. A shell that has put this process in the background meanwhile keeps the terminal.
    pub(super) fn take_back(&self) {
        let is_gone = |group| test_kill_process_group(group) == Err(rustix::io::Errno::SRCH);
        if tcgetpgrp(&self.0).is_ok_and(is_gone) {
            // Otherwise the kernel would stop this process for trying this in the background.
            let _ = without_signal(Signal::TTOU, || tcsetpgrp(&self.0, getpgrp()));
        }
    }
}
