//! A temporary home with a store, and runs of the program in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::Mode;

use super::refusal::Refusal;
use super::requirement::{has_user_namespaces, skip};

/// A directory that holds everything a test touches: a home with a store, and temporary files.
///
/// The program gets nothing of the caller's environment, nor its umask. Dropping the sandbox
/// removes the directory, whatever modes the files inside have.
pub struct Sandbox {
    root: PathBuf,
}

impl Sandbox {
    /// Makes an empty one.
    pub fn new() -> Sandbox {
        let root = tempfile::Builder::new()
            .prefix("udocker-test-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        Sandbox::at(&root);
        Sandbox { root }
    }

    /// Makes the directories of a sandbox in `root`. Dropping a `Workplace` does not remove them.
    pub fn at(root: &Path) -> Workplace<'_> {
        set_umask();
        for directory in ["home", "tmp", "bin"] {
            fs::create_dir_all(root.join(directory)).expect("a writable temporary directory");
        }
        for name in ["udocker", "udocker.py"] {
            // Another test process may have made the link in a shared workplace.
            let _ = symlink(env!("CARGO_BIN_EXE_udocker"), root.join("bin").join(name));
        }
        Workplace { root }
    }

    fn workplace(&self) -> Workplace<'_> {
        Workplace { root: &self.root }
    }

    /// A path inside, for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file of the test's own and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a name inside the sandbox")).expect("a directory");
        fs::write(&path, content).expect("a writable sandbox");
        path
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.workplace().home()
    }

    /// The repository, at its default place in the home.
    pub fn store(&self) -> PathBuf {
        self.workplace().store()
    }

    /// The program with these arguments.
    pub fn udocker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.workplace().udocker(args)
    }

    /// All images, blobs, containers, unfinished ones and temporary files, for asserting that
    /// nothing was left behind.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let store = self.store();
        let directories = [
            store.join("repos"),
            store.join("layers"),
            store.join("layers/.staging"),
            store.join("containers"),
            store.join(".containers.staging"),
            self.root.join("tmp"),
        ];
        let listings = directories
            .iter()
            .filter_map(|path| fs::read_dir(path).ok());
        let mut found: Vec<PathBuf> = listings
            .flat_map(|listing| listing.map(|entry| entry.expect("an entry").path()))
            .filter(|path| !is_bookkeeping(path))
            .collect();
        found.sort();
        found
    }

    /// Asserts that the repository lists no image.
    #[track_caller]
    pub fn assert_no_images(&self) {
        let listing = self.udocker(["images"]).run().succeeds();
        listing.prints("REPOSITORY");
    }

    /// Asserts that there is no container and no beginning of one.
    #[track_caller]
    pub fn assert_no_containers(&self) {
        let store = self.store();
        let mut left = self.leftovers();
        left.retain(|path| {
            path.starts_with(store.join("containers"))
                || path.starts_with(store.join(".containers.staging"))
        });
        assert_eq!(left, Vec::<PathBuf>::new());
    }

    /// Asserts that the store holds nothing at all.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new());
    }

    /// The unpacked trees that are kept for images, to make containers from.
    pub fn image_trees(&self) -> Vec<PathBuf> {
        let listing = fs::read_dir(self.store().join(".containers.trees"));
        let entries = listing.into_iter().flatten();
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }
}

/// Sets the umask on which expected modes rely; that of a login may be another, often 002.
pub fn set_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

/// Whether this is a lock or a staging directory.
fn is_bookkeeping(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".lock", ".pulling", ".staging"].contains(&&*name)
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        make_removable(&self.root);
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("cannot remove '{}': {error}", self.root.display());
        }
    }
}

/// Gives the owner all rights on every directory below, so that the tree can be removed.
pub fn make_removable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}

/// A directory laid out like a sandbox, which it does not own.
#[derive(Clone, Copy)]
pub struct Workplace<'a> {
    root: &'a Path,
}

impl Workplace<'_> {
    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The repository, at its default place in the home.
    pub fn store(&self) -> PathBuf {
        self.home().join(".udocker")
    }

    /// The program with these arguments.
    pub fn udocker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation {
        let mut command = Command::new(self.root.join("bin/udocker"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.root.join("tmp"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.root)
            .stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.env("UDOCKER_ALLOW_ROOT", "1");
        }
        Invocation {
            command,
            stdin: None,
        }
    }
}

/// The program about to be run.
#[must_use = "an invocation does nothing until it is run or spawned"]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Invocation {
    /// Sets a variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Invocation {
        self.command.env(key, value);
        self
    }

    /// Removes a variable.
    pub fn without_env(mut self, key: &str) -> Invocation {
        self.command.env_remove(key);
        self
    }

    /// Calls the program as `udocker.py`.
    pub fn named_udocker_py(mut self) -> Invocation {
        let program = PathBuf::from(self.command.get_program()).with_file_name("udocker.py");
        self.rebuild(program.into_os_string(), &[]);
        self
    }

    /// Runs the program through another one, as in `unshare -r udocker …`.
    pub fn through(mut self, wrapper: &[&str]) -> Invocation {
        let program = self.command.get_program().to_os_string();
        let mut front: Vec<OsString> = wrapper[1..].iter().map(OsString::from).collect();
        front.push(program);
        self.rebuild(wrapper[0].into(), &front);
        self
    }

    /// Runs the shell script `prepare` and then the program as root of a new user and mount
    /// namespace. Skips the test, and returns `None`, where the system allows no such namespace, or
    /// no mount of an overlay.
    pub fn run_confined(self, prepare: &str) -> Option<Ran> {
        if !has_user_namespaces() {
            return None;
        }
        let script = format!("{{ {prepare}; }} && exec \"$0\" \"$@\"");
        let ran = self.confined(&["sh", "-c", &script]).run();
        if prepare.contains("-t overlay") && ran.stderr.contains("mount:") {
            let message = ran.stderr.trim_end();
            skip(&format!(
                "this kernel lets users mount no overlay: {message}"
            ));
            return None;
        }
        Some(ran)
    }

    /// Runs the program, through `wrapper` if it is not empty, as root of a new user and mount
    /// namespace.
    pub fn confined(self, wrapper: &[&str]) -> Invocation {
        let front = ["unshare", "--user", "--map-root-user", "--mount"];
        self.through(&[&front[..], wrapper].concat())
    }

    /// Makes these system calls of the program fail with `errno`. Must be the last change to the
    /// command.
    pub fn without_calls(mut self, calls: &[i64], errno: i32) -> Invocation {
        let refusal = Refusal::of(calls, errno);
        #[allow(
            unsafe_code,
            reason = "the program itself has no reason to refuse itself anything"
        )]
        // SAFETY: between fork and execution, two system calls are made and nothing is allocated.
        unsafe {
            self.command.pre_exec(move || refusal.install());
        }
        self
    }

    fn rebuild(&mut self, program: OsString, front: &[OsString]) {
        let mut command = Command::new(program);
        command
            .args(front)
            .args(self.command.get_args())
            .env_clear();
        for (key, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        command.stdin(Stdio::null());
        self.command = command;
    }

    /// Gives the program these bytes to read.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Invocation {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it to its end.
    #[must_use = "assert something about the run"]
    pub fn run(mut self) -> Ran {
        let stdin = self.stdin.take();
        if stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let description = format!("{:?}", self.command);
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let writer = stdin.zip(child.stdin.take()).map(|(bytes, mut pipe)| {
            // The program may end before it has read everything.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let output = child
            .wait_with_output()
            .expect("the program can be awaited");
        if let Some(writer) = writer {
            writer.join().expect("the writer does not panic");
        }
        Ran {
            command: description,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it in a process group of its own, with its output piped to the test.
    pub fn spawn(mut self) -> Started {
        let child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("the program starts");
        Started { child }
    }
}

/// The program while it runs; dropping it kills its process group.
pub struct Started {
    /// The process, for its pipes.
    pub child: Child,
}

impl Started {
    /// Sends a signal to the program alone, not to its group.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the program still runs");
    }

    /// Sends a signal to the program and all it started, as a terminal does for Ctrl-C.
    pub fn signal_group(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process_group(self.pid(), signal).expect("the program still runs");
    }

    /// Waits for its end; fails after two minutes.
    #[track_caller]
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.child.try_wait().expect("the program can be awaited") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.pid(), rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The exit status as a shell shows it, 128+N for a signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    let signal = status.signal().unwrap_or(0);
    status.code().unwrap_or(128 + signal)
}

/// Status and output of a finished run. Its assertions show all of it when they fail.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    /// The exit status as a shell shows it, 128+N for a signal.
    pub fn code(&self) -> i32 {
        exit_code(self.status)
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Ran {
        assert_eq!(self.code(), code, "{self:#?}");
        self
    }

    /// Asserts status 0.
    #[track_caller]
    pub fn succeeds(self) -> Ran {
        self.exits_with(0)
    }

    /// Asserts the whole of standard output, without the last newline.
    #[track_caller]
    pub fn prints(self, expected: &str) -> Ran {
        assert_eq!(self.stdout.trim_end_matches('\n'), expected, "{self:#?}");
        self
    }

    /// Asserts that standard error holds exactly one `Error: ` line, besides warnings, messages and
    /// hints, that it contains all of `parts`, and that standard output is empty.
    #[track_caller]
    pub fn errs_in_one_line(&self, parts: &[&str]) {
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("Error: "))
            .count();
        let strangers = self
            .stderr
            .lines()
            .filter(|line| {
                ["Error: ", "Warning: ", "Info: ", "Hint: "]
                    .iter()
                    .all(|prefix| !line.starts_with(prefix))
            })
            .count();
        assert_eq!((errors, strangers), (1, 0), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        }
        assert_eq!(self.stdout, "", "{self:#?}");
    }

    /// Standard output without the last newline.
    pub fn text(&self) -> &str {
        self.stdout.trim_end_matches('\n')
    }
}
