//! Ctrl-C ends the container. `tests/run/lifetime.rs` tests other signals, in each execution mode.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;

use crate::support::container;
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

/// How many processes on this machine have `marker` among their arguments.
fn count_processes(marker: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
        .count()
}

#[test]
fn run_ends_all_guest_processes_on_ctrl_c() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    // An argument for `sleep` that no other test uses.
    let marker = format!("80000.{}", std::process::id());
    let script = format!("busybox sleep {marker} & echo ready; busybox sleep {marker}");
    let run = ["run", "--nobanner", "one", "sh", "-c", &script];
    let mut started = sandbox.udocker(run).spawn();
    let stdout = started.child.stdout.take().unwrap();
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    // A shell that has not started the second process yet does not end by SIGINT.
    wait_until("the sleepers run", || count_processes(&marker) == 2);
    // A terminal signals the whole process group.
    started.signal_group(Signal::INT);
    let status = started.wait();
    assert_eq!(crate::support::sandbox::exit_code(status), 128 + 2);
    wait_until("nothing inside is left", || count_processes(&marker) == 0);
}
