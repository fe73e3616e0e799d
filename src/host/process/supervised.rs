//! A foreground program whose descendants all end with it, for engines that have neither a tracer
//! nor a PID namespace to ensure that.
//!
//! ```text
//! this process ── supervisor ── program ── its children …
//! ```
//!
//! With a PID namespace there is one more process, the first one of that namespace:
//!
//! ```text
//! this process ── supervisor ── init ── program ── its children …
//! ```
//!
//! The supervisor is a fork of this process. It is a subreaper (`PR_SET_CHILD_SUBREAPER`), so every
//! descendant that loses its parent becomes its child. When the program has ended, or when this
//! process is killed, the supervisor kills all of them. Nothing else ends the supervisor before: it
//! is in a session of its own, where no signal to the program's process group reaches it; it is in
//! neither the mount namespace nor the PID namespace of the program; and it has a name of its own,
//! so `killall udocker` does not match it.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process,
    set_child_subreaper, set_dumpable_behavior, set_parent_process_death_signal, setsid, wait,
    waitpid,
};
use rustix::thread::set_name;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;

use super::children::children_of;
use super::core_files::allow_core_files;
use super::forked::{Forked, Gate};
use super::signals::{send, to_pass_on, watch_real_time_signals, watch_signals};
use super::terminal::Terminal;
use super::{RunOutcome, set_parent_death_signal};

/// What a process does before the program is executed.
///
/// It is called in a process with one thread, so it may allocate and lock. Only
/// [`io::Error::raw_os_error`] of its error arrives, which may be any number.
pub type PreExec = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// Which process does what before the program is executed.
pub enum PreExecPlan {
    /// The program's own process does everything.
    Program(PreExec),
    /// The supervisor enters a PID namespace, whose first process does the rest.
    Init {
        /// What the supervisor does.
        supervisor: PreExec,
        /// What the first process does.
        init: PreExec,
    },
}

/// A program to run under supervision.
pub struct Supervised<'a> {
    /// The executable. It is looked up in the `PATH` of `environment`, after `entry`.
    pub program: &'a OsStr,
    /// Its arguments, without its own name.
    pub arguments: &'a [OsString],
    /// Its whole environment.
    pub environment: &'a [(&'a OsStr, &'a OsStr)],
    /// What is done before the program is executed.
    pub entry: PreExecPlan,
    /// Called when no process is left, even if this process has been killed meanwhile.
    pub afterwards: &'a dyn Fn(),
}

/// The outcome of a program that is killed because this process has ended.
const ABANDONED_END: RunOutcome = RunOutcome::Signaled(Signal::KILL.as_raw());

/// The supervisor's name in `ps`.
const SUPERVISOR: &CStr = c"supervisor";

/// The kernel sends this signal to the supervisor when this process dies. Like the end of a child,
/// it makes the supervisor check its processes.
const ABANDONED: Signal = Signal::CHILD;

impl<'a> Supervised<'a> {
    /// Runs the program to its end, then kills all processes that it has left behind.
    ///
    /// Files, signals and terminals are treated as in [`super::Foreground::run`].
    ///
    /// # Errors
    /// A [`PreExec`] fails, or the program cannot be executed.
    pub fn run(self) -> io::Result<RunOutcome> {
        let caller = getpid();
        let terminal = Terminal::held();
        let supervisor = Forked::start(|gate| self.supervise(caller, gate))?;
        // The supervisor must not inherit the handlers, and the program must not run before they
        // exist.
        let mut signals = watch_signals()?;
        let supervisor = supervisor.let_go();
        watch_real_time_signals(&signals);
        loop {
            // Checked first, since the supervisor may have ended before `SIGCHLD` was handled.
            if let Some((_, status)) = waitpid(Some(supervisor.pid), WaitOptions::NOHANG)? {
                if let Some(terminal) = &terminal {
                    terminal.take_back();
                }
                return supervisor
                    .read_report()
                    .unwrap_or_else(|| Ok(ended(status)));
            }
            pass_on(&mut signals, supervisor.pid);
        }
    }

    /// What the supervisor does.
    fn supervise(self, caller: Pid, gate: Gate) -> io::Result<RunOutcome> {
        set_child_subreaper(Some(getpid()))?;
        // The supervisor works without the name too.
        let _ = set_name(SUPERVISOR);
        let afterwards = self.afterwards;
        let program = self.program();
        let watch = || -> io::Result<_> {
            let signals = watch_signals()?;
            gate.pass()?;
            set_parent_death_signal(caller, ABANDONED)?;
            Ok(signals)
        };
        let run = || match self.entry {
            PreExecPlan::Program(enter) => {
                let mut signals = watch()?;
                let ended = await_end(program.start(enter)?, &mut signals, caller)?;
                Ok(ended.unwrap_or(ABANDONED_END))
            }
            PreExecPlan::Init {
                mut supervisor,
                init,
            } => {
                supervisor()?;
                // Before the handlers are installed, as above.
                let init = Forked::start(|gate| program.start_as_init(init, gate))?;
                let mut signals = watch()?;
                let init = init.let_go();
                match await_end(init.pid, &mut signals, caller)? {
                    Some(ended) => init.read_report().unwrap_or(Ok(ended)),
                    // Init is still running, so it has not reported.
                    None => Ok(ABANDONED_END),
                }
            }
        };
        let result = run();
        end_children();
        afterwards();
        result
    }

    fn program(&self) -> Program<'a> {
        Program {
            program: self.program,
            arguments: self.arguments,
            environment: self.environment,
        }
    }
}

/// Waits for the end of the supervisor's child; `None` if the supervisor's parent has ended first.
fn await_end(
    child: Pid,
    signals: &mut SignalsInfo<WithOrigin>,
    caller: Pid,
) -> io::Result<Option<RunOutcome>> {
    // Only now, so that the program stays in the caller's process group. A new session rather than
    // a new group: as the program's parent in the same session, the supervisor would count as a
    // shell that continues stopped jobs, and a container whose caller leads the session would stop
    // for good at a key of the terminal.
    let _ = setsid();
    watch_real_time_signals(signals);
    loop {
        pass_on(signals, child);
        if let Some(ended) = reap(child) {
            return Ok(Some(ended));
        }
        if getppid() != Some(caller) {
            return Ok(None);
        }
    }
}

/// The program that is executed.
#[derive(Clone, Copy)]
struct Program<'a> {
    program: &'a OsStr,
    arguments: &'a [OsString],
    environment: &'a [(&'a OsStr, &'a OsStr)],
}

impl Program<'_> {
    /// What the first process of a PID namespace does. When it ends, the kernel kills all others.
    fn start_as_init(self, mut enter: PreExec, gate: Gate) -> io::Result<RunOutcome> {
        // The parent has no process id in this namespace, so this process cannot check whether it
        // is still there. If it has died, the gate does not open.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let mut signals = watch_signals()?;
        gate.pass()?;
        enter()?;
        // The guest sees this process as process 1, with the memory and files of this program.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let program = self.start(Box::new(|| Ok(())))?;
        watch_real_time_signals(&signals);
        loop {
            pass_on(&mut signals, program);
            if let Some(ended) = reap(program) {
                return Ok(ended);
            }
        }
    }

    fn start(self, mut enter: PreExec) -> io::Result<Pid> {
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .env_clear()
            .envs(self.environment.iter().copied());
        let parent = getpid();
        #[allow(
            unsafe_code,
            reason = "namespaces are entered between fork and exec, or the supervisor would enter them too"
        )]
        // SAFETY: the supervisor and init are forks without further threads, so no thread that is
        // missing in their child can hold a lock.
        unsafe {
            command.pre_exec(move || {
                enter()?;
                allow_core_files()?;
                set_parent_death_signal(parent, Signal::KILL)
            });
        }
        Ok(Pid::from_child(&command.spawn()?))
    }
}

/// Waits for signals and passes them on to the program.
fn pass_on(signals: &mut SignalsInfo<WithOrigin>, to: Pid) {
    for signal in signals.wait().filter_map(|origin| to_pass_on(&origin)) {
        send(signal, to);
    }
}

/// Reaps all children that have ended, and returns the outcome of `program` if it is among them.
fn reap(program: Pid) -> Option<RunOutcome> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            found = Some(ended(status));
        }
    }
    found
}

/// Kills all descendants: grandchildren become children of this process when their parent ends.
fn end_children() {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => return,
        }
        let children = children_of(getpid());
        // Children that `/proc` does not show cannot be killed.
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = wait(WaitOptions::empty());
    }
}

fn ended(status: WaitStatus) -> RunOutcome {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => RunOutcome::Exited(code.to_le_bytes()[0]),
        (None, signal) => RunOutcome::Signaled(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn supervised(
        script: &str,
        entry: PreExecPlan,
        afterwards: &dyn Fn(),
    ) -> io::Result<RunOutcome> {
        Supervised {
            program: OsStr::new("sh"),
            arguments: &["-c".into(), script.into()],
            environment: &[(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin"))],
            entry,
            afterwards,
        }
        .run()
    }

    fn nothing() -> PreExecPlan {
        PreExecPlan::Program(Box::new(|| Ok(())))
    }

    #[test]
    fn exits_and_errors_are_reported() {
        for (script, end) in [
            ("exit 7", RunOutcome::Exited(7)),
            ("kill -9 $$", RunOutcome::Signaled(9)),
            ("(sleep 60 &) ; exit 3", RunOutcome::Exited(3)),
        ] {
            let result = supervised(script, nothing(), &|| ());
            assert_eq!(result.unwrap(), end, "{script}");
        }
        let refuse: PreExec = Box::new(|| Err(io::Error::from_raw_os_error(0x0012_3456)));
        let error = supervised("exit 0", PreExecPlan::Program(refuse), &|| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(0x0012_3456));
    }

    #[test]
    fn afterwards_is_called_when_no_process_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (late, after) = (
            directory.path().join("late"),
            directory.path().join("after"),
        );
        let script = format!("(sleep 0.3; touch {}) & exit 4", late.display());
        let result = supervised(&script, nothing(), &|| {
            fs::write(&after, "").unwrap();
        });
        assert_eq!(result.unwrap(), RunOutcome::Exited(4));
        assert!(after.exists());
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(!late.exists());
    }
}
