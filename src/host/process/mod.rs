//! Starts programs, waits for them, and passes signals on.
//!
//! A foreground program runs as a child, never by replacing this process: the parent's open
//! files (locks, an engine kept in memory) live as long as the program does, and what has to
//! happen afterwards can. The price is one sleeping process.

mod core_files;
mod forked;
mod namespaces;
mod supervised;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use rustix::thread::CpuSet;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

pub use core_files::forbid_core_files;
pub use namespaces::{leave_namespaces, leave_namespaces_with_help};
pub use supervised::{Enter, Entry, Supervised, attempt};

use core_files::allow_core_files;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code.to_le_bytes()[0]),
            (None, signal) => Ended::Signaled(signal.unwrap_or_default()),
        }
    }
}

/// Who gets the signals that this process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalTarget {
    /// The program.
    Program,
    /// The program's own first child: for a tracer that swallows signals.
    FirstChild,
}

/// A program to run in the foreground.
pub struct Foreground<'a> {
    /// The executable.
    pub program: &'a Path,
    /// Its arguments, without its own name.
    pub arguments: &'a [OsString],
    /// Its whole environment.
    pub environment: &'a [(&'a OsStr, &'a OsStr)],
    /// Who gets signals.
    pub signals: SignalTarget,
}

/// Passed on when they are sent to this process alone.
const PASSED_ON: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

impl Foreground<'_> {
    /// Runs the program to its end.
    ///
    /// It gets this process's open files and standard streams as they are. Signals sent to this
    /// process go to the program; those from the terminal reach the whole foreground group
    /// without help. One that somebody sends to the whole group may arrive twice, since it looks
    /// like one that is meant for this process. If this process is killed, so is the program.
    /// After the end, the signals above have no effect on this process any more, so that it can
    /// clean up.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(&self) -> io::Result<Ended> {
        // Before the start, so that nothing is missed in between.
        let mut signals = watch_signals(&[])?;
        let mut child = self.spawn()?;
        loop {
            for origin in signals.wait() {
                if let Some(signal) = to_pass_on(&origin) {
                    self.pass_on(&child, signal);
                }
            }
            if let Some(status) = child.try_wait()? {
                return Ok(status.into());
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .env_clear()
            .envs(self.environment.iter().copied());
        let parent = getpid();
        let prepare = move || {
            allow_core_files()?;
            die_with(parent, Signal::KILL)
        };
        #[allow(
            unsafe_code,
            reason = "nothing else runs code between fork and exec, where the parent-death signal has to be set"
        )]
        // SAFETY: the closure makes three system calls and builds an error without allocating,
        // all of which is allowed in a forked child.
        unsafe {
            command.pre_exec(prepare);
        }
        command.spawn()
    }

    fn pass_on(&self, child: &Child, signal: Signal) {
        let program = Pid::from_child(child);
        let target = match self.signals {
            SignalTarget::Program => program,
            SignalTarget::FirstChild => first_child(program).unwrap_or(program),
        };
        // The program may have ended just now; then there is nobody to tell.
        let _ = kill_process(target, signal);
    }
}

/// Makes the kernel send `signal` to this process when its parent dies.
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // The parent may have died before that was in force.
    if getppid() != Some(parent) {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

/// Watches for the signals to pass on, for `others`, and for the program's end. A signal that is
/// ignored (by `nohup`, say) stays so, here and in the program.
fn watch_signals(others: &[Signal]) -> io::Result<SignalsInfo<WithOrigin>> {
    let watched = PASSED_ON
        .iter()
        .map(|signal| signal.as_raw())
        .filter(|signal| !is_ignored(*signal))
        .chain(others.iter().map(|signal| signal.as_raw()))
        .chain([Signal::CHILD.as_raw()]);
    SignalsInfo::new(watched)
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

fn to_pass_on(origin: &Origin) -> Option<Signal> {
    let signal = Signal::from_named_raw(origin.signal)?;
    let was_sent = matches!(origin.cause, Cause::Sent(_));
    (was_sent && PASSED_ON.contains(&signal)).then_some(signal)
}

fn first_child(parent: Pid) -> Option<Pid> {
    let parent = parent.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// Runs a program without input, with `variables` beside this process's own, and returns what it
/// prints.
///
/// # Errors
/// It cannot be started, fails, or prints what is no text. What it says when it fails is part of
/// the error: the first line.
pub fn output<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
    variables: &[(&OsStr, &OsStr)],
) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = match said.lines().next() {
            Some(line) => format!("{}: {}", output.status, line.trim()),
            None => output.status.to_string(),
        };
        return Err(io::Error::other(reason));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// Keeps this process, and the programs that it starts, on the given CPUs (below 1024).
///
/// # Errors
/// None of them can be used.
pub fn stay_on_cpus(cpus: impl Iterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.filter(|&cpu| cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Ended {
        Foreground {
            program: Path::new("/bin/sh"),
            arguments: &["-c".into(), script.into()],
            environment: &[(OsStr::new("A"), OsStr::new("b"))],
            signals: SignalTarget::Program,
        }
        .run()
        .unwrap()
    }

    #[test]
    fn the_end_of_a_program_is_told() {
        assert_eq!(run("exit 7"), Ended::Exited(7));
        assert_eq!(run("kill -9 $$"), Ended::Signaled(9));
        assert_eq!(
            run("test \"$A\" = b && test -z \"$HOME\""),
            Ended::Exited(0)
        );
    }

    #[test]
    fn output_of_failing_programs_is_an_error() {
        let shell = |script| {
            let variables = [(OsStr::new("WORD"), OsStr::new("x"))];
            output(Path::new("/bin/sh"), &["-c", script], &variables)
        };
        assert_eq!(shell("echo $WORD").unwrap(), "x\n");
        assert_eq!(
            shell("echo no >&2; echo never >&2; exit 3")
                .unwrap_err()
                .to_string(),
            "exit status: 3: no"
        );
        assert!(shell("exit 1").is_err());
        assert!(output(Path::new("/none"), &[""; 0], &[]).is_err());
    }

    #[test]
    fn impossible_cpus_are_an_error() {
        assert!(stay_on_cpus([1023].into_iter()).is_err());
    }
}
