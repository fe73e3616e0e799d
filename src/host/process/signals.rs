//! Signals: which ones this process handles, and which of them it passes on.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// The signals that are passed on, besides real-time signals. The others cannot be caught (KILL,
/// STOP), stop this process like the rest of its job (TSTP, TTIN, TTOU), or tell a process about
/// something of its own: an error, a child or a file (SEGV, PIPE, CHILD, URG, IO).
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

/// The signals that the kernel sends to the whole process group, so that the program gets them too:
/// for the terminal's keys and size, and to continue an orphaned group. HUP is not one of them: for
/// a closed terminal, the kernel sends it to the session leader. An orphaned group gets HUP as a
/// whole, before CONT, so a program in it gets HUP twice.
const TO_GROUP: [Signal; 4] = [Signal::INT, Signal::QUIT, Signal::WINCH, Signal::CONT];

/// Handles the signals to pass on, and `SIGCHLD`. A signal that is ignored (because of `nohup`, for
/// example) stays ignored, here and in the program; a blocked one is unblocked.
pub(super) fn watch_signals() -> io::Result<SignalsInfo<WithOrigin>> {
    let watched: Vec<i32> = PASSED_ON
        .iter()
        .map(|signal| signal.as_raw())
        .filter(|signal| !is_ignored(*signal))
        .chain([Signal::CHILD.as_raw()])
        .collect();
    let signals = SignalsInfo::new(&watched)?;
    // The program that started this one may have blocked them; then they would never arrive.
    change_mask(libc::SIG_UNBLOCK, &watched)?;
    Ok(signals)
}

/// Handles real-time signals as well. There are about thirty, and to install the handlers takes
/// time; so it is done after the program has been started.
pub(super) fn watch_real_time_signals(signals: &SignalsInfo<WithOrigin>) {
    let watched: Vec<i32> = (libc::SIGRTMIN()..=libc::SIGRTMAX())
        .filter(|signal| !is_ignored(*signal) && signals.add_signal(*signal).is_ok())
        .collect();
    // The program can run without these signals.
    let _ = change_mask(libc::SIG_UNBLOCK, &watched);
}

/// The signal, if it has to be passed on: the program has not got it itself.
pub(super) fn to_pass_on(origin: &Origin) -> Option<i32> {
    let is = |signal: &Signal| signal.as_raw() == origin.signal;
    let was_sent = matches!(origin.cause, Cause::Sent(_));
    let is_known_inside = !was_sent && TO_GROUP.iter().any(is);
    (!is(&Signal::CHILD) && !is_known_inside).then_some(origin.signal)
}

/// Sends a signal. `SIGHUP` is followed by `SIGCONT`, as the kernel and shells do: a stopped
/// process would not get it otherwise. It is not an error if the process has just ended.
pub(super) fn send(signal: i32, to: Pid) {
    kill(signal, to);
    if signal == Signal::HUP.as_raw() {
        kill(Signal::CONT.as_raw(), to);
    }
}

fn kill(signal: i32, to: Pid) {
    #[allow(unsafe_code, reason = "rustix does not support real-time signals")]
    // SAFETY: the call takes two numbers.
    unsafe {
        libc::kill(to.as_raw_pid(), signal);
    }
}

/// Makes sure that this process can wait for its children. If the program that started it had
/// `SIGCHLD` ignored, the kernel would discard their statuses.
pub fn ensure_sigchld_not_ignored() {
    if is_ignored(Signal::CHILD.as_raw()) {
        // Any handler will do. Programs that are executed do not inherit it.
        let _ = signal_hook::flag::register(Signal::CHILD.as_raw(), Arc::default());
    }
}

/// Runs `action` while `signal` is blocked for this thread.
pub(super) fn without_signal<T>(signal: Signal, action: impl FnOnce() -> T) -> io::Result<T> {
    change_mask(libc::SIG_BLOCK, &[signal.as_raw()])?;
    let result = action();
    change_mask(libc::SIG_UNBLOCK, &[signal.as_raw()])?;
    Ok(result)
}

fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    #[allow(unsafe_code, reason = "no crate in use asks for a signal's action")]
    // SAFETY: without a new action the call only writes the old one, and writes it if it succeeds.
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
    // SAFETY: the first call initializes the set; the others add to it or read it.
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
