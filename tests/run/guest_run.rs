//! A rootfs for each test, and a child process that runs a container in it. Signals, descriptors
//! and exits concern whole processes, so each run re-executes this test binary.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use tempfile::TempDir;
use udocker::engine::{self, EngineOptions, HostView};
use udocker::host::facts::{Caller, Machine};
use udocker::oci::ImageConfig;
use udocker::spec::{
    self, Access, Accounts, ContainerFacts, EnvOption, ExecMode, GuestEnv, GuestPath, HostFacts,
    HostPath, Processes, RunRequest, Tmpfs, UserSpec, Volume,
};

use crate::support::requirement::{allowed_modes, has_user_namespaces};

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 29] = [
    "sh", "true", "sleep", "cat", "echo", "id", "ls", "wc", "kill", "env", "pwd", "touch", "dd",
    "readlink", "test", "head", "ln", "uname", "grep", "stat", "mv", "mount", "chown", "rm",
    "mknod", "mkdir", "chroot", "hostname", "su",
];

/// Separates words, which may have several lines.
const SEPARATOR: &str = "\u{1f}";

/// The execution modes with an engine in this program. Most tests run in each of them.
pub(crate) const MODES: [&str; 5] = ["P1", "P2", "R1", "R2", "R3"];

pub(crate) struct GuestRun {
    directory: TempDir,
    mode: &'static str,
}

impl GuestRun {
    /// One run for each of [`MODES`] that this host allows.
    pub(crate) fn in_each_mode() -> impl Iterator<Item = GuestRun> {
        GuestRun::in_modes(&MODES)
    }

    /// One run for each of these modes that this host allows.
    pub(crate) fn in_modes(modes: &[&'static str]) -> impl Iterator<Item = GuestRun> {
        allowed_modes(modes).into_iter().map(GuestRun::new)
    }

    pub(crate) fn new(mode: &'static str) -> GuestRun {
        // Shown when the test fails.
        println!("in mode {mode}");
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("ROOT");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(BUSYBOX, root.join("bin/busybox"))
            .expect("the tests need busybox-static in /bin/busybox");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\napp:x:33:33::/srv:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        GuestRun { directory, mode }
    }

    pub(crate) fn mode(&self) -> &'static str {
        self.mode
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("ROOT")
    }

    pub(crate) fn host(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A child process that runs `words` in the container. Each option is `key=value`; see `run`
    /// below.
    pub(crate) fn command(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "guest_run::runner",
                "--ignored",
                "--nocapture",
                "--quiet",
            ])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "dumb")
            // Without `HOME` the test harness asks glibc, which does not work in a static
            // executable.
            .env("HOME", self.directory.path())
            .env("SANDBOX", self.directory.path())
            .env("SANDBOX_MODE", self.mode)
            .env("SANDBOX_OPTIONS", options.join(SEPARATOR))
            .env("SANDBOX_WORDS", words.join(SEPARATOR))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Output {
        self.command(options, words).output().unwrap()
    }

    /// The status of `sh -c script`.
    pub(crate) fn status(&self, options: &[&str], script: &str) -> Option<i32> {
        self.run(options, &["sh", "-c", script]).status.code()
    }

    /// What `sh -c script` prints.
    pub(crate) fn output(&self, options: &[&str], script: &str) -> String {
        stdout(&self.run(options, &["sh", "-c", script]))
    }
}

/// A run in mode R1; skips the test, and returns `None`, where this host does not allow it.
pub(crate) fn in_r1() -> Option<GuestRun> {
    has_user_namespaces().then(|| GuestRun::new("R1"))
}

/// Standard output without the first line of the child's test harness.
pub(crate) fn stdout(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.strip_prefix("\nrunning 1 test\n")
        .unwrap_or(&text)
        .to_string()
}

/// The entry point of the child process of [`GuestRun::command`]. It is not a test of its own;
/// nextest counts it as skipped.
#[test]
#[ignore = "child entry point"]
fn runner() {
    let directory = std::env::var_os("SANDBOX").expect("a parent that sets it");
    let lines = |name: &str| -> Vec<String> {
        let text = std::env::var(name).unwrap();
        text.split(SEPARATOR).map(str::to_string).collect()
    };
    let status = match run(
        Path::new(&directory),
        &lines("SANDBOX_OPTIONS"),
        &lines("SANDBOX_WORDS"),
    ) {
        Ok(status) => status,
        Err((status, message)) => {
            eprintln!("Error: {message}");
            status
        }
    };
    finish(status);
}

#[allow(
    clippy::exit,
    reason = "the harness would turn every status into 0 or 101"
)]
fn finish(status: u8) -> ExitCode {
    std::process::exit(i32::from(status))
}

fn run(directory: &Path, options: &[String], words: &[String]) -> Result<u8, (u8, String)> {
    let path = |path: &Path| HostPath::new(path).unwrap();
    let environment: GuestEnv = std::env::vars_os()
        .filter(|(name, _)| !name.to_string_lossy().starts_with("SANDBOX"))
        .collect();
    let host = HostFacts {
        caller: Caller::look_up(None),
        machine: Machine::look_up(),
        environment,
    };
    let own = tempfile::tempdir_in(directory).unwrap();
    let mut container = ContainerFacts {
        id: Some("0f1e2d3c-0000".to_string()),
        names: vec!["one".to_string(), "two".to_string()],
        mode: std::env::var("SANDBOX_MODE").unwrap().parse().unwrap(),
        root: path(&directory.join("ROOT")),
        directory: path(directory),
        run_directory: Some(path(own.path())),
        image: ImageConfig::default(),
    };
    let mut engine_options = EngineOptions {
        bin_dir: directory.join("bin"),
        fallback_dirs: vec![directory.join("fallback")],
        tmp_dir: std::env::temp_dir(),
        other_proot: None,
        other_apptainer: None,
        no_seccomp: false,
        id_ranges: false,
        search_path: OsString::new(),
    };
    let mut request = RunRequest {
        arguments: words
            .iter()
            .filter(|_| words != [""])
            .map(OsString::from)
            .collect(),
        ..RunRequest::default()
    };
    for option in options.iter().filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap();
        match key {
            "auto" => {
                let works = engine::namespace::probe().is_ok();
                container.mode = if works { ExecMode::R1 } else { ExecMode::P1 };
            }
            "user" => request.user = Some(UserSpec::parse(value).unwrap()),
            "volume" => request
                .volumes
                .push(Volume::parse(value.as_ref()).map_err(|e| (125, e.to_string()))?),
            "device" => request
                .devices
                .push(Volume::parse_device(value.as_ref()).map_err(|e| (125, e.to_string()))?),
            "tmpfs" => {
                let (target, options) = value.split_once(':').unwrap_or((value, ""));
                let stand_in = directory.join(target.replace('/', "-"));
                fs::create_dir_all(&stand_in).unwrap();
                request.volumes.push(Volume {
                    source: path(&stand_in),
                    target: GuestPath::new(target).unwrap(),
                    access: Access::ReadWrite,
                    tmpfs: Some(Tmpfs::parse(options).unwrap()),
                });
            }
            "read-only" => request.root_access = Access::ReadOnly,
            "hostname" => request.host_name = Some(value.parse().unwrap()),
            "processes" => {
                request.processes = match value {
                    "own" => Processes::Own,
                    _ => Processes::Reaped,
                }
            }
            "no-system-directories" => request.no_system_directories = true,
            "env" => request.env.push(EnvOption::parse(value.as_ref()).unwrap()),
            "workdir" => request.workdir = Some(value.into()),
            "image-workdir" => container.image.process.working_dir = value.to_string(),
            "kernel" => request.kernel = Some(value.to_string()),
            "cpus" => request.cpus = Some(value.parse().unwrap()),
            "accounts" => {
                request.accounts = match value {
                    "host" => Accounts::Host,
                    "container" => Accounts::Container,
                    _ => Accounts::Completed,
                }
            }
            "run-directory" => container.run_directory = Some(path(Path::new(value))),
            "refuse" => crate::refusals::refuse(value),
            "id-ranges" => engine_options.id_ranges = true,
            "bin" => engine_options.bin_dir = PathBuf::from(value),
            "proot" => engine_options.other_proot = Some(PathBuf::from(value)),
            _ => panic!("unknown option {key}"),
        }
    }
    let spec = spec::plan_run(&request, &host, &container, &HostView)
        .map_err(|error| (error.exit_status(), error.to_string()))?;
    engine::run(&spec, &engine_options)
        .map(|outcome| outcome.exit_status())
        .map_err(|error| (error.exit_status(), error.to_string()))
}

/// Appends the command `inner` to `outer`, with the environment of `inner`.
pub(crate) fn wrap<'c>(outer: &'c mut Command, inner: &Command) -> &'c mut Command {
    let environment = inner.get_envs();
    outer
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(environment.filter_map(|(name, value)| Some((name, value?))))
}
