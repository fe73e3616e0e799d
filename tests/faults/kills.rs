//! `kill -9` at random moments.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::served::{Random, Served};
use crate::support::sandbox::Sandbox;
use crate::test_limits;

/// The first words of all lines but the header.
pub fn listed(text: &str) -> Vec<String> {
    let rows = text.lines().skip(1);
    rows.filter_map(|row| row.split_whitespace().next())
        .map(str::to_string)
        .collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Asserts that everything the repository lists works.
pub fn assert_sound(sandbox: &Sandbox) {
    let images = sandbox.udocker(["images"]).run().succeeds();
    for image in listed(images.text()) {
        sandbox.udocker(["verify", &image]).run().succeeds();
    }
    let containers = sandbox.udocker(["ps"]).run().succeeds();
    for id in listed(containers.text()) {
        let run = sandbox.udocker(["run", "--nobanner", &id, "echo", "works"]);
        run.run().succeeds().prints("works");
    }
}

/// Removes all containers and images, runs `gc --all`, and asserts that nothing is left.
pub fn assert_can_be_emptied(sandbox: &Sandbox) {
    let containers = sandbox.udocker(["ps"]).run().succeeds();
    for id in listed(containers.text()) {
        sandbox.udocker(["rm", &id]).run().succeeds();
    }
    let images = sandbox.udocker(["images"]).run().succeeds();
    for image in listed(images.text()) {
        sandbox.udocker(["rmi", &image]).run().succeeds();
    }
    sandbox.udocker(["gc", "--all"]).run().succeeds();
    let store = sandbox.store();
    assert_eq!(names_in(&store.join("repos")), [""; 0]);
    assert_eq!(names_in(&store.join("containers")), [""; 0]);
    assert_eq!(names_in(&store.join(".containers.staging")), [""; 0]);
    assert_eq!(names_in(&store.join("layers/.staging")), [""; 0]);
    assert_eq!(
        names_in(&store.join("layers")),
        [".lock", ".pulling", ".staging"]
    );
}

/// Prepares the repository for `command`, and returns its arguments.
fn prepared(sandbox: &Sandbox, served: &Served, command: &str, round: u32) -> Vec<String> {
    let image = served.image(&(round % 3).to_string());
    let pull = || sandbox.udocker(["pull", &image]).run().succeeds();
    match command {
        "rm" => {
            pull();
            let created = sandbox.udocker(["create", &image]).run().succeeds();
            vec!["rm".to_string(), created.text().to_string()]
        }
        "load" => {
            let name = format!("lab/loaded:{round}");
            ["load", "-i", "archive.tar", &name]
                .map(String::from)
                .to_vec()
        }
        "create" | "rmi" => {
            pull();
            vec![command.to_string(), image]
        }
        _ => vec![command.to_string(), image],
    }
}

#[test]
fn killed_commands_leave_a_sound_repository() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("0");
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox
        .udocker(["save", "-o", "archive.tar", &image])
        .run()
        .succeeds();
    let mut random = Random::new(4);
    for command in ["pull", "create", "load", "rm", "rmi"] {
        // The duration of an undisturbed run.
        let arguments = prepared(&sandbox, &served, command, 0);
        let start = Instant::now();
        sandbox.udocker(&arguments).run().succeeds();
        let mut whole = u64::try_from(start.elapsed().as_micros()).unwrap();
        let mut killed = 0;
        // Most rounds kill the command, since the moment lies within its duration; a test in which
        // hardly any round does is void.
        for round in 1..=4 * test_limits::kills() {
            if killed == test_limits::kills() {
                break;
            }
            if command == "pull" {
                let image = served.image(&(round % 3).to_string());
                let _ = sandbox.udocker(["rmi", &image]).run();
            }
            let arguments = prepared(&sandbox, &served, command, round);
            let process = sandbox.udocker(&arguments).spawn();
            std::thread::sleep(Duration::from_micros(random.below(whole)));
            let _ = rustix::process::kill_process(process.pid(), Signal::KILL);
            match process.wait().code() {
                None => killed += 1,
                // The command was faster than measured.
                Some(_) => whole -= whole / 8,
            }
        }
        println!("{command}: {killed} killed");
        assert_eq!(killed, test_limits::kills(), "of '{command}'");
        let arguments = prepared(&sandbox, &served, command, u32::MAX);
        sandbox.udocker(&arguments).run().succeeds();
        assert_sound(&sandbox);
        assert_can_be_emptied(&sandbox);
    }
}
