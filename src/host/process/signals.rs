//! Signals: which are watched for, and which of them are passed on.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// Passed on, as are real-time signals: all that a program may be told something with. PIPE is not:
/// what writes to a closed pipe gets it from the kernel.
const PASSED_ON: [Signal; 14] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::POWER,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::CONT,
];

/// Those that the kernel sends to a whole process group, the program's too: for the terminal's keys
/// and size, and to continue a group that has been orphaned. That the terminal has been closed it
/// tells nobody but the first process of the session.
const TO_GROUP: [Signal; 4] = [Signal::INT, Signal::QUIT, Signal::WINCH, Signal::CONT];

/// Watches for the signals to pass on, and for the program's end. A signal that is ignored (by
/// `nohup`, say) stays so, here and in the program; one that is blocked is no more.
pub(super) fn watch_signals() -> io::Result<SignalsInfo<WithOrigin>> {
    let watched: Vec<i32> = PASSED_ON
        .iter()
        .map(|signal| signal.as_raw())
        .filter(|signal| !is_ignored(*signal))
        .chain([Signal::CHILD.as_raw()])
        .collect();
    let signals = SignalsInfo::new(&watched)?;
    // Blocked by who started this program, they would never arrive.
    change_mask(libc::SIG_UNBLOCK, &watched)?;
    Ok(signals)
}

/// Watches for real-time signals as well. There are thirty, and each takes its time, which a program
/// that has been started need not wait for.
pub(super) fn watch_real_time_signals(signals: &SignalsInfo<WithOrigin>) {
    let watched: Vec<i32> = (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .filter(|signal| !is_ignored(*signal) && signals.add_signal(*signal).is_ok())
        .collect();
    // The program runs without them as well.
    let _ = change_mask(libc::SIG_UNBLOCK, &watched);
}

/// The signal, if it is meant for the program, which has not got it itself.
pub(super) fn to_pass_on(origin: &Origin) -> Option<i32> {
    let is = |signal: &Signal| signal.as_raw() == origin.signal;
    let was_sent = matches!(origin.cause, Cause::Sent(_));
    let is_known_inside = !was_sent && TO_GROUP.iter().any(is);
    (!is(&Signal::CHILD) && !is_known_inside).then_some(origin.signal)
}

/// Sends a signal. A stopped process gets `SIGHUP` only once it is continued, so that is done as well,
/// as by shells and the kernel. The process may have ended just now; then nobody gets anything.
pub(super) fn send(signal: i32, to: Pid) {
    kill(signal, to);
    if signal == Signal::HUP.as_raw() {
        kill(Signal::CONT.as_raw(), to);
    }
}

fn kill(signal: i32, to: Pid) {
    #[allow(unsafe_code, reason = "rustix knows no real-time signals")]
    // SAFETY: takes two numbers.
    unsafe {
        libc::kill(to.as_raw_pid(), signal);
    }
}

/// Lets this process learn how its children end, even where who started it ignores that: then the
/// kernel would forget it.
pub fn ensure_sigchld_not_ignored() {
    if is_ignored(Signal::CHILD.as_raw()) {
        // Any handler will do. What is executed does not inherit it.
        let _ = signal_hook::flag::register(Signal::CHILD.as_raw(), Arc::default());
    }
}

/// Does something during which `signal` is held back from this thread.
pub(super) fn without_signal<T>(signal: Signal, action: impl FnOnce() -> T) -> io::Result<T> {
    change_mask(libc::SIG_BLOCK, &[signal.as_raw()])?;
    let result = action();
    change_mask(libc::SIG_UNBLOCK, &[signal.as_raw()])?;
    Ok(result)
}

fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    #[allow(unsafe_code, reason = "no crate in use asks for a signal's action")]
    // SAFETY: without a new action the call only fills in the old one, and does so if it succeeds.
    let action = unsafe {
        if libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return false;
        }
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Blocks or unblocks signals for this thread.
fn change_mask(how: i32, signals: &[i32]) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    #[allow(unsafe_code, reason = "no crate in use changes the signal mask")]
    // SAFETY: the first call makes it a valid set, to which the others add or which they read.
    let error = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut())
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
