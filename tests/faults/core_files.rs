//! The program leaves no core file, which could hold a password; guests may.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;

use crate::served::Served;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::sandbox::Sandbox;

/// Runs with core files switched on.
const WITH_CORES: [&str; 4] = ["sh", "-c", r#"ulimit -S -c 1024 && exec "$@""#, "sh"];

/// Runs with core files of any size.
const WITH_LARGE_CORES: [&str; 4] = [
    "sh",
    "-c",
    r#"ulimit -S -c "$(ulimit -H -c)" && exec "$@""#,
    "sh",
];

#[test]
fn pull_leaves_no_core_file() {
    let (asked, is_asked) = mpsc::channel();
    let registry = FakeRegistry::start(move |_| {
        asked.send(()).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        Reply::new(404, "")
    });
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", registry.url());
    let process = sandbox.udocker(["pull", &image]).through(&WITH_LARGE_CORES);
    let process = process.spawn();
    is_asked.recv().unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid().as_raw_pid()));
    let limits = limits.unwrap();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    // A limit of one byte also keeps the kernel from piping the core to a program.
    assert_eq!(
        core.unwrap().split_whitespace().next(),
        Some("1"),
        "{limits}"
    );
    process.signal(Signal::ABORT);
    let status = process.wait();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "{status}");
}

#[test]
fn run_keeps_the_core_file_limit_for_the_guest() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    let run = sandbox.udocker(["run", "--nobanner", &image, "sh", "-c", "ulimit -c"]);
    run.through(&WITH_CORES).run().succeeds().prints("1024");
}
