//! The terminal, which a shell in a process namespace cannot give back: there its caller's process
//! group has no number.

use std::fs::File;

use rustix::process::{Signal, getpgrp, test_kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::signals::without_signal;

/// The controlling terminal of a process whose group is in its foreground.
pub(super) struct Terminal(File);

impl Terminal {
    /// `None` where there is none, or another group is in the foreground.
    pub(super) fn held() -> Option<Terminal> {
        let terminal = File::open("/dev/tty").ok()?;
        (tcgetpgrp(&terminal).ok()? == getpgrp()).then_some(Terminal(terminal))
    }

    /// Brings this process's group to the foreground again, if nobody of the one there is left. A
    /// shell that has sent this process to the background meanwhile keeps it.
    pub(super) fn take_back(&self) {
        let is_gone = |group| test_kill_process_group(group) == Err(rustix::io::Errno::SRCH);
        if tcgetpgrp(&self.0).is_ok_and(is_gone) {
            // Who is in the background would be stopped for trying.
            let _ = without_signal(Signal::TTOU, || tcsetpgrp(&self.0, getpgrp()));
        }
    }
}
