//! `kill -9` at moments that nobody chose.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::served::{Random, Served};
use crate::support::sandbox::Sandbox;

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

/// Removes everything listed, then what is not, and asserts that nothing is left.
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

#[test]
fn a_hundred_kills_leave_a_sound_repository() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let mut random = Random::new(4);
    let mut killed = 0;
    for round in 0..100 {
        let image = served.image(&(round / 4 % 3).to_string());
        let container = listed(sandbox.udocker(["ps"]).run().succeeds().text());
        let command = match (round % 4, container.first()) {
            (0, _) => vec!["pull".to_string(), image],
            (2, Some(id)) if container.len() > 2 => vec!["rm".to_string(), id.clone()],
            (3, _) if round % 8 == 7 => vec!["rmi".to_string(), image],
            _ => {
                // Killed in a create more often than not, so the image has to be whole.
                sandbox.udocker(["pull", &image]).run().succeeds();
                vec!["create".to_string(), image]
            }
        };
        let process = sandbox.udocker(&command).spawn();
        std::thread::sleep(Duration::from_millis(random.below(120)));
        let _ = rustix::process::kill_process(process.pid(), Signal::KILL);
        killed += u32::from(process.wait().code().is_none());
        if round % 10 == 9 {
            assert_sound(&sandbox);
        }
    }
    assert!(killed > 30, "only {killed} processes were killed in time");
    assert_can_be_emptied(&sandbox);
}
