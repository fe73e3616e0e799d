//! Starts programs, waits for them, and passes signals on.
//!
//! A foreground program runs as a child, never by replacing this process: the parent's open files
//! (locks, an engine kept in memory) have to live as long as the program does, and the parent has
//! to clean up afterwards. The price is one sleeping process.

mod children;
mod core_files;
mod forked;
mod namespaces;
mod signals;
mod supervised;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal, WaitOptions, getpid, getppid, getrlimit, waitpid};
use rustix::thread::CpuSet;

pub use core_files::forbid_core_files;
pub use namespaces::{unshare, unshare_with_id_mapper};
pub use signals::ensure_sigchld_not_ignored;
pub use supervised::{PreExec, PreExecPlan, Supervised};

use children::children_of;
use core_files::allow_core_files;
use forked::Forked;
use signals::{send, to_pass_on, watch_real_time_signals, watch_signals};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it. PRoot exits with 128+N instead if signal N ends its guest.
    Signaled(i32),
}

impl RunOutcome {
    /// The exit status as shells report it: 128+N after signal N.
    pub fn exit_status(self) -> u8 {
        match self {
            RunOutcome::Exited(status) => status,
            RunOutcome::Signaled(signal) => (128 + signal).to_le_bytes()[0],
        }
    }
}

impl From<ExitStatus> for RunOutcome {
    fn from(status: ExitStatus) -> RunOutcome {
        match (status.code(), status.signal()) {
            (Some(code), _) => RunOutcome::Exited(code.to_le_bytes()[0]),
            (None, signal) => RunOutcome::Signaled(signal.unwrap_or_default()),
        }
    }
}

/// Which process gets the signals that are sent to this process.
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
    /// Which process gets the signals.
    pub signals: SignalTarget,
}

impl Foreground<'_> {
    /// Runs the program to its end.
    ///
    /// The program inherits this process's open files and standard streams. Signals sent to this
    /// process are passed on to the program; those from the terminal reach the whole foreground
    /// process group anyway. A signal that a process sends to the whole group may arrive twice,
    /// since this process cannot tell it from one that was sent to itself alone. If this process is
    /// killed, so is the program. Afterwards the handled signals still have no effect on this
    /// process, so that it can clean up.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(&self) -> io::Result<RunOutcome> {
        // Before the start, so that no signal gets lost in between.
        let mut signals = watch_signals()?;
        let mut child = self.spawn()?;
        watch_real_time_signals(&signals);
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
            set_parent_death_signal(parent, Signal::KILL)
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

    fn pass_on(&self, child: &Child, signal: i32) {
        let program = Pid::from_child(child);
        let target = match self.signals {
            SignalTarget::Program => program,
            SignalTarget::FirstChild => children_of(program).first().copied().unwrap_or(program),
        };
        send(signal, target);
    }
}

/// Makes the kernel send `signal` to this process when its parent dies.
fn set_parent_death_signal(parent: Pid, signal: Signal) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // The parent may have died before the signal was set.
    if getppid() != Some(parent) {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    Ok(())
}

/// Runs `action` in a fork of this process, which ends right after that. The action may change the
/// namespaces, ids and filters of its process; this process keeps its own.
///
/// # Errors
/// The action fails, or the fork does. Only [`io::Error::raw_os_error`] of an action's error
/// arrives.
pub fn run_in_fork(action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let fork = Forked::start(|_gate| action().map(|()| RunOutcome::Exited(0)))?;
    let pid = fork.pid;
    let report = fork.read_report();
    waitpid(Some(pid), WaitOptions::empty())?;
    match report {
        Some(ended) => ended.map(drop),
        None => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Runs a program with empty input and returns its standard output. `variables` are added to this
/// process's environment.
///
/// # Errors
/// The program cannot be started, fails, or prints something other than UTF-8.
pub fn output<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
    variables: &[(&OsStr, &OsStr)],
) -> io::Result<String> {
    let bytes = output_bytes(program, arguments, variables)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The same for output that need not be UTF-8.
///
/// # Errors
/// The program cannot be started, or fails; the error contains the first line of its standard
/// error.
pub fn output_bytes<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
    variables: &[(&OsStr, &OsStr)],
) -> io::Result<Vec<u8>> {
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
    Ok(output.stdout)
}

/// Runs a program with `input` as its standard input, and returns its output and its status.
///
/// # Errors
/// The program cannot be started; `TimedOut` if it has not closed its output within `limit`, after
/// which it is killed.
pub fn output_with_input(
    program: &Path,
    arguments: &[&str],
    input: &[u8],
    limit: Duration,
) -> io::Result<Output> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, input) = (child.stdin.take(), input.to_vec());
    // A program may answer without reading.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let rest = |receiver: Receiver<_>| {
        let left = deadline.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left).ok()
    };
    let (Some(stdout), Some(stderr)) = (rest(stdout), rest(stderr)) else {
        child.kill()?;
        child.wait()?;
        return Err(io::ErrorKind::TimedOut.into());
    };
    Ok(Output {
        status: child.wait()?,
        stdout,
        stderr,
    })
}

/// Reads a stream to its end in a thread of its own.
fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a failure is the output.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        // The reader may have given up.
        let _ = sender.send(bytes);
    });
    receiver
}

/// Runs programs at the same time, with empty input, and discards their output.
///
/// # Errors
/// `EPERM` if one of them cannot be started, or fails.
pub fn run_together<'a>(calls: impl Iterator<Item = (&'a Path, Vec<String>)>) -> io::Result<()> {
    let start = |(program, arguments): (&Path, Vec<String>)| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    let started: Vec<io::Result<Child>> = calls.map(start).collect();
    let mut result = Ok(());
    for child in started {
        let status = child.and_then(|mut child| child.wait());
        if !status.is_ok_and(|status| status.success()) {
            result = Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    result
}

/// Whether the processor time of this process, and of the programs that it starts, is limited.
pub fn has_processor_limit() -> bool {
    getrlimit(Resource::Cpu).current.is_some()
}

/// Restricts this process, and the programs that it starts, to the given CPUs (below 1024).
///
/// # Errors
/// None of the CPUs can be used.
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

    fn run(script: &str) -> RunOutcome {
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
    fn the_outcome_of_a_program_is_returned() {
        assert_eq!(run("exit 7"), RunOutcome::Exited(7));
        assert_eq!(run("kill -9 $$"), RunOutcome::Signaled(9));
        assert_eq!(
            run("test \"$A\" = b && test -z \"$HOME\""),
            RunOutcome::Exited(0)
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
    fn a_program_may_read_its_input_or_not() {
        let input = vec![b'x'; 1 << 20];
        let shell = |script, seconds| {
            let limit = Duration::from_secs(seconds);
            output_with_input(Path::new("/bin/sh"), &["-c", script], &input, limit)
        };
        assert_eq!(shell("wc -c", 60).unwrap().stdout, b"1048576\n");
        assert_eq!(shell("exit 3", 60).unwrap().status.code(), Some(3));
        let error = shell("exec sleep 100", 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_action_in_a_fork_does_not_change_this_process() {
        let name = || std::fs::read_to_string("/proc/thread-self/comm").unwrap();
        let before = name();
        run_in_fork(|| Ok(rustix::thread::set_name(c"fork")?)).unwrap();
        assert_eq!(name(), before);
        let failed = run_in_fork(|| Err(io::Error::from_raw_os_error(libc::EBUSY)));
        assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn impossible_cpus_are_an_error() {
        assert!(stay_on_cpus([1023].into_iter()).is_err());
    }
}
