//! What signals do, and what a `kill -9` at a bad moment leaves behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::prepared::{DISTRO, Distro, storage};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::sandbox::{Sandbox, Started};
use crate::support::wait::wait_until;

/// How many processes on this machine have `marker` among their arguments.
fn alive(marker: &str) -> usize {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == marker.as_bytes())
        })
        .count()
}

/// Starts a container with two sleeping processes that `marker` tells from all others.
fn start_sleepers(distro: &Distro, marker: &str) -> Started {
    let script = format!("sleep {marker} & echo ready; sleep {marker}");
    let mut started = distro.sh(&script).spawn();
    let stdout = started.child.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    // A shell that has yet to start the second one does not end by SIGINT.
    wait_until("the sleepers run", || alive(marker) == 2);
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
    // Alone, SIGINT ends no shell that waits for a program: see what a terminal does below.
    for (number, signal) in [(1, Signal::TERM), (2, Signal::HUP), (3, Signal::QUIT)] {
        let marker = marker(number);
        let started = start_sleepers(&distro, &marker);
        started.signal(signal);
        ended_by(signal, started);
        wait_until("nothing inside is left", || alive(&marker) == 0);
    }
}

#[test]
fn control_c_ends_everything_inside() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let marker = marker(4);
    let started = start_sleepers(&distro, &marker);
    started.signal_group(Signal::INT);
    ended_by(Signal::INT, started);
    wait_until("nothing inside is left", || alive(&marker) == 0);
}

#[track_caller]
fn ended_by(signal: Signal, started: Started) {
    let status = started.wait();
    let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
    assert_eq!(code, 128 + signal.as_raw(), "{signal:?}");
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
    wait_until("nothing inside is left", || alive(&marker) == 0);
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

/// How often a run is killed before it may come to its end.
const KILLS: usize = 8;

/// Starts runs that `start` gives and kills them at different moments, until [`KILLS`] were hit;
/// `check` looks at what each left. A run that was faster is undone by `undo`, and the next ones
/// are killed earlier.
fn kill_at_many_moments(start: impl Fn() -> Started, check: impl Fn(), undo: impl Fn()) {
    // A machine where nothing can be hit in so many tries is no test.
    let mut longest = Duration::from_millis(1000);
    let mut killed = 0;
    for attempt in 0..10 * KILLS {
        if killed == KILLS {
            return;
        }
        let process = start();
        // From the very beginning to the longest delay, in an order that jumps about.
        let delay = longest.mul_f64((attempt * 7 % 19) as f64 / 19.0);
        std::thread::sleep(delay);
        let _ = rustix::process::kill_process(process.pid(), Signal::KILL);
        if process.wait().success() {
            longest = delay;
            undo();
        } else {
            killed += 1;
            check();
        }
    }
    panic!("only {killed} runs were interrupted");
}

/// Asserts that a listing has no line but its header.
#[track_caller]
fn lists_nothing(sandbox: &Sandbox, command: &str) {
    let listed = sandbox.udocker([command]).run().succeeds();
    assert_eq!(listed.text().lines().count(), 1, "{listed:#?}");
}

#[test]
fn a_killed_pull_leaves_nothing_listed_and_the_next_one_succeeds() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    kill_at_many_moments(
        || sandbox.udocker(["-q", "pull", &image]).spawn(),
        || lists_nothing(&sandbox, "images"),
        || {
            sandbox.udocker(["rmi", &image]).run().succeeds();
        },
    );
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox.udocker(["verify", &image]).run().succeeds();
    let left = sandbox.leftovers();
    assert_eq!(
        left.len(),
        1 + 4,
        "the image, three layers and the configuration, nothing else: {left:?}"
    );
}

#[test]
fn a_killed_create_leaves_nothing_listed_and_the_next_one_succeeds() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let image = registry.reference(DISTRO);
    sandbox.udocker(["pull", &image]).run().succeeds();
    let before = sandbox.leftovers();
    kill_at_many_moments(
        || sandbox.udocker(["create", "--name=again", &image]).spawn(),
        || lists_nothing(&sandbox, "ps"),
        || {
            sandbox.udocker(["rm", "again"]).run().succeeds();
        },
    );
    let made = sandbox
        .udocker(["create", "--name=again", &image])
        .run()
        .succeeds();
    sandbox
        .udocker(["run", "--nobanner", "again", "true"])
        .run()
        .succeeds();
    let containers = sandbox.store().join("containers");
    let mut expected = before;
    expected.extend([containers.join(made.text()), containers.join("again")]);
    expected.sort();
    assert_eq!(sandbox.leftovers(), expected);
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
