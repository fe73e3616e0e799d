//! What signals do, and what a `kill -9` at a bad moment leaves behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::prepared::{DISTRO, Distro, storage};
use crate::registry::{Guard, Registry, Transport};
use crate::support::sandbox::{Sandbox, Started};

/// Whether some process on this machine has `marker` among its arguments.
fn is_alive(marker: &str) -> bool {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
}

/// Waits until `condition` holds; fails after half a minute.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a container with two sleeping processes that `marker` tells from all others.
fn start_sleepers(distro: &Distro, marker: &str) -> Started {
    let script = format!("sleep {marker} & echo ready; sleep {marker}");
    let mut started = distro.sh(&script).spawn();
    let stdout = started.child.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    wait_until("the sleepers run", || is_alive(marker));
    started
}

/// An argument for `sleep` that no other test uses.
fn marker(number: u32) -> String {
    format!("{}.{}", 80_000 + number, std::process::id())
}

#[test]
fn terminating_signals_end_everything_inside() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    for (number, signal) in [(1, Signal::TERM), (2, Signal::INT), (3, Signal::HUP)] {
        let marker = marker(number);
        let started = start_sleepers(&distro, &marker);
        started.signal(signal);
        let status = started.wait();
        let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
        assert_eq!(code, 128 + signal.as_raw(), "{signal:?}");
        wait_until("nothing inside is left", || !is_alive(&marker));
    }
}

#[test]
fn killing_udocker_ends_everything_inside() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let marker = marker(9);
    let started = start_sleepers(&distro, &marker);
    started.signal(Signal::KILL);
    started.wait();
    wait_until("nothing inside is left", || !is_alive(&marker));
}

#[test]
fn a_signal_reaches_a_guest_that_handles_it() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let mut started = distro.sh(script).spawn();
    let mut lines = BufReader::new(started.child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("UTF-8"), "ready");
    started.signal(Signal::USR1);
    assert_eq!(lines.next().expect("a line").expect("UTF-8"), "caught");
    assert_eq!(started.wait().code(), Some(9));
}

#[test]
fn a_killed_pull_leaves_nothing_listed_and_the_next_one_succeeds() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    let mut killed = 0;
    for delay in [0, 20, 60, 150, 400, 1000] {
        let process = sandbox.udocker(["-q", "pull", &image]).spawn();
        wait_until("the pull has begun", || {
            sandbox.store().join("layers").is_dir()
        });
        std::thread::sleep(Duration::from_millis(delay));
        // It may have come to its end before the longest delays.
        let _ = rustix::process::kill_process(process.pid(), Signal::KILL);
        if process.wait().success() {
            break;
        }
        killed += 1;
        let listed = sandbox.udocker(["images"]).run().succeeds();
        assert_eq!(
            listed.text().lines().count(),
            1,
            "only the header: {listed:#?}"
        );
    }
    assert!(killed > 0, "no pull was interrupted");
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox.udocker(["verify", &image]).run().succeeds();
    let names = names_below(&sandbox.store().join("layers"));
    assert_eq!(
        names.len(),
        4,
        "three layers and the configuration, nothing else: {names:?}"
    );
}

#[test]
fn a_killed_create_leaves_nothing_listed_and_the_next_one_succeeds() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    sandbox.udocker(["pull", &image]).run().succeeds();
    let mut killed = 0;
    for delay in [0, 20, 100, 400, 1000] {
        let process = sandbox.udocker(["create", "--name=again", &image]).spawn();
        wait_until("the create has begun", || {
            !names_below(&sandbox.store().join("containers")).is_empty()
        });
        std::thread::sleep(Duration::from_millis(delay));
        let _ = rustix::process::kill_process(process.pid(), Signal::KILL);
        if process.wait().success() {
            sandbox.udocker(["rm", "again"]).run().succeeds();
            continue;
        }
        killed += 1;
        let listed = sandbox.udocker(["ps"]).run().succeeds();
        assert_eq!(
            listed.text().lines().count(),
            1,
            "only the header: {listed:#?}"
        );
    }
    assert!(killed > 0, "no create was interrupted");
    sandbox
        .udocker(["create", "--name=again", &image])
        .run()
        .succeeds();
    sandbox
        .udocker(["run", "--nobanner", "again", "true"])
        .run()
        .succeeds();
    let names = names_below(&sandbox.store().join("containers"));
    assert_eq!(
        names.len(),
        2,
        "the container and its name, nothing else: {names:?}"
    );
}

#[test]
fn two_creates_at_once_make_two_working_containers() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let workplace = distro.workplace();
    let started: Vec<_> = (0..2)
        .map(|_| workplace.udocker(["create", &distro.image()]).spawn())
        .collect();
    let mut ids = Vec::new();
    for mut process in started {
        let mut id = String::new();
        let stdout = process.child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut id).expect("a line");
        assert!(process.wait().success());
        ids.push(id.trim().to_string());
    }
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        workplace
            .udocker(["run", "--nobanner", id, "echo", "works"])
            .run()
            .succeeds()
            .prints("works");
        workplace.udocker(["rm", id]).run().succeeds();
    }
}

fn names_below(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
