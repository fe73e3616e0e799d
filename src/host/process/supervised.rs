//! A program in the foreground whose descendants all end with it, for engines that have neither a
//! tracer nor a process namespace to see to that.
//!
//! ```text
//! this process ── supervisor ── program ── its children …
//! ```
//!
//! With a process namespace there is one more, the first process of that namespace:
//!
//! ```text
//! this process ── supervisor ── init ── program ── its children …
//! ```
//!
//! The supervisor is a fork of this process. The kernel gives it whoever below it loses his parent
//! (`PR_SET_CHILD_SUBREAPER`), so nobody can get away: when the program has ended, or when this
//! process is killed, it ends them all. Since it is in a session of its own, and in none of
//! the program's namespaces, neither a signal to the whole group nor the program can keep it from
//! that; nor can who kills all that is called like this program, since it has a name of its own.

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

/// What the program's process does before the program is executed.
///
/// It runs in a process with one thread, so there is nothing it may not do. Of its error only
/// [`io::Error::raw_os_error`] arrives, which may be any number.
pub type PreExec = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// Who does what before the program is executed.
pub enum PreExecPlan {
    /// The program's own process does everything.
    Program(PreExec),
    /// The supervisor enters a process namespace, whose first process does the rest.
    Init {
        /// What the supervisor does.
        supervisor: PreExec,
        /// What the first process does.
        init: PreExec,
    },
}

/// A program to run under supervision.
pub struct Supervised<'a> {
    /// The executable; looked for in the `PATH` of `environment`, once it has entered.
    pub program: &'a OsStr,
    /// Its arguments, without its own name.
    pub arguments: &'a [OsString],
    /// Its whole environment.
    pub environment: &'a [(&'a OsStr, &'a OsStr)],
    /// What is done first, and by whom.
    pub entry: PreExecPlan,
    /// What is done once nobody is left, even if this process has been killed meanwhile.
    pub afterwards: &'a dyn Fn(),
}

/// How a program ends that is ended with this process.
const ABANDONED_END: RunOutcome = RunOutcome::Signaled(Signal::KILL.as_raw());

/// What `ps` calls the supervisor.
const SUPERVISOR: &CStr = c"supervisor";

/// Sent to the supervisor when this process dies: it has to look who is left then, as when a child
/// has ended.
const ABANDONED: Signal = Signal::CHILD;

impl<'a> Supervised<'a> {
    /// Runs the program to its end, and everybody it leaves behind to theirs.
    ///
    /// Files, signals and terminals are treated as in [`super::Foreground::run`].
    ///
    /// # Errors
    /// The program cannot be started; what [`PreExec`] returned.
    pub fn run(self) -> io::Result<RunOutcome> {
        let caller = getpid();
        let terminal = Terminal::held();
        let supervisor = Forked::start(|gate| self.supervise(caller, gate))?;
        // The supervisor must not inherit the handlers, the program not run before they are there.
        let mut signals = watch_signals()?;
        let supervisor = supervisor.let_go();
        watch_real_time_signals(&signals);
        loop {
            // Looked at first, since the supervisor may have ended before anybody watched.
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

    /// The supervisor's life.
    fn supervise(self, caller: Pid, gate: Gate) -> io::Result<RunOutcome> {
        set_child_subreaper(Some(getpid()))?;
        // Without it, it is as good a supervisor.
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
                // Before the handlers are there, as above.
                let init = Forked::start(|gate| program.start_as_init(init, gate))?;
                let mut signals = watch()?;
                let init = init.let_go();
                match await_end(init.pid, &mut signals, caller)? {
                    Some(ended) => init.read_report().unwrap_or(Ok(ended)),
                    // The init lives on, so it has nothing to report.
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

/// Waits for the end of the supervisor's child; `None` when its own parent has ended before.
fn await_end(
    child: Pid,
    signals: &mut SignalsInfo<WithOrigin>,
    caller: Pid,
) -> io::Result<Option<RunOutcome>> {
    // Only now, so that the program is in the caller's group. A session of its own rather than a
    // group: the kernel must not take the supervisor for a shell that continues the program's group
    // once a key of the terminal has stopped it.
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

/// What is executed in the end.
#[derive(Clone, Copy)]
struct Program<'a> {
    program: &'a OsStr,
    arguments: &'a [OsString],
    environment: &'a [(&'a OsStr, &'a OsStr)],
}

impl Program<'_> {
    /// The life of a process namespace's first process, which ends all others with its own.
    fn start_as_init(self, mut enter: PreExec, gate: Gate) -> io::Result<RunOutcome> {
        // The parent is in another namespace, so it cannot be seen that it has died before that:
        // then the gate stays shut.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let mut signals = watch_signals()?;
        gate.pass()?;
        enter()?;
        // It still holds this program's memory and files, and the guest sees it as process 1.
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
            reason = "namespaces are entered between fork and exec: before, the supervisor would enter them too"
        )]
        // SAFETY: supervisor and init are forks and start no threads, so no lock can be held by one
        // that is missing in their child.
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

/// Waits for signals and passes on those that were meant for the program.
fn pass_on(signals: &mut SignalsInfo<WithOrigin>, to: Pid) {
    for signal in signals.wait().filter_map(|origin| to_pass_on(&origin)) {
        send(signal, to);
    }
}

/// Takes leave of all children that have ended, and returns how `program` did if it is one.
fn reap(program: Pid) -> Option<RunOutcome> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            found = Some(ended(status));
        }
    }
    found
}

/// Ends all children, and theirs, which become children of this process when their parent ends.
fn end_children() {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => return,
        }
        let children = children_of(getpid());
        // Who cannot be seen cannot be ended.
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
    fn ends_and_errors_are_reported() {
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
    fn afterwards_comes_when_nobody_is_left() {
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
