//! Containers with files that belong to ids of the caller's subordinate id ranges.

use std::fs;
use std::path::{Path, PathBuf};

use udocker::host::facts::host_name;

use crate::support::container;
use crate::support::image::ImageBuilder;
use crate::support::requirement::{has_id_ranges, has_user_namespaces};
use crate::support::sandbox::{Invocation, Sandbox};

fn in_namespaces(sandbox: &Sandbox, script: &str) -> Invocation {
    sandbox
        .udocker(["run", "--nobanner", "one", "/bin/sh", "-c", script])
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1")
}

/// A container with a directory that belongs to another id and is closed to all others. `None`
/// where the user has no id ranges.
fn with_foreign_files(sandbox: &Sandbox) -> Option<PathBuf> {
    if !has_id_ranges() {
        return None;
    }
    let directory = container::busybox(sandbox);
    let script = "cd /tmp; mkdir d; echo content >d/f; busybox ln -s f d/l; busybox mkfifo d/p;
        busybox chown -hR 33:5 d; busybox chmod 700 d; busybox stat -c %u d/f";
    let ran = in_namespaces(sandbox, script).run().succeeds();
    assert_eq!(ran.text(), "33");
    assert!(fs::read_dir(directory.join("ROOT/tmp/d")).is_err());
    Some(directory)
}

#[test]
fn rm_removes_files_of_id_ranges() {
    let sandbox = Sandbox::new();
    let Some(directory) = with_foreign_files(&sandbox) else {
        return;
    };
    sandbox.udocker(["rm", "one"]).run().succeeds();
    assert!(!directory.exists());
    sandbox.assert_empty();
}

#[test]
fn run_keeps_its_ids_after_sweeping_files_of_id_ranges() {
    let sandbox = Sandbox::new();
    let Some(directory) = with_foreign_files(&sandbox) else {
        return;
    };
    // A killed `rm` leaves a container like this.
    let staging = sandbox.store().join(".containers.staging");
    let left = staging.join(directory.file_name().unwrap());
    fs::create_dir_all(&staging).unwrap();
    fs::rename(&directory, &left).unwrap();
    fs::write(left.with_extension("lock"), host_name()).unwrap();
    let layout = ImageBuilder::busybox().write_layout(&sandbox.path("layout"), "1");
    let load = ["load", "-i", layout.to_str().unwrap(), "lab/tool"];
    sandbox.udocker(load).run().succeeds();
    let ids = "/proc/self/uid_map";
    let run = sandbox.udocker(["run", "--nobanner", "lab/tool:1", "cat", ids]);
    let ran = run.env("UDOCKER_DEFAULT_EXECUTION_MODE", "P1").run();
    let own = fs::read_to_string(ids).unwrap();
    ran.succeeds().prints(own.trim_end_matches('\n'));
    assert!(!left.exists());
}

#[test]
fn export_and_clone_keep_files_of_id_ranges() {
    let sandbox = Sandbox::new();
    if with_foreign_files(&sandbox).is_none() {
        return;
    }
    let archive = sandbox.path("one.tar");
    let text = archive.to_str().unwrap();
    sandbox
        .udocker(["export", "-o", text, "one"])
        .run()
        .succeeds();
    let mut found = false;
    let mut tar = tar::Archive::new(fs::File::open(&archive).unwrap());
    for entry in tar.entries().unwrap() {
        found |= entry
            .unwrap()
            .path()
            .unwrap()
            .ends_with(Path::new("tmp/d/f"));
    }
    assert!(found);
    sandbox
        .udocker(["clone", "--name=two", "one"])
        .run()
        .succeeds();
    sandbox
        .udocker([
            "run",
            "--nobanner",
            "two",
            "/bin/sh",
            "-c",
            "cd /tmp/d; busybox stat -c %u:%g f l p; cat f",
        ])
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1")
        .run()
        .succeeds()
        .prints("33:5\n33:5\n33:5\ncontent");
    for name in ["one", "two"] {
        sandbox.udocker(["rm", name]).run().succeeds();
    }
}

#[test]
fn setup_fixperm_gives_files_of_id_ranges_to_the_caller() {
    let sandbox = Sandbox::new();
    let Some(directory) = with_foreign_files(&sandbox) else {
        return;
    };
    let in_proot = |script: &str| {
        let words = ["run", "--nobanner", "one", "/bin/sh", "-c", script];
        sandbox.udocker(words).run().stderr
    };
    // A run that succeeds prints nothing about such files.
    assert_eq!(in_proot("exit 0"), "");
    // A guest that is not root has one id only.
    let words = ["run", "--nobanner", "-u", "33:5", "one", "cat", "/tmp/d/f"];
    let denied = sandbox
        .udocker(words)
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1")
        .run()
        .stderr;
    assert!(denied.contains("belong to ids that only root"), "{denied}");
    let told = in_proot("exit 3");
    assert!(
        told.starts_with("Info: some files inside belong to ids"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    let ran = sandbox
        .udocker(["setup", "--fixperm", "one"])
        .run()
        .succeeds();
    assert_eq!(ran.stderr, "");
    assert_eq!(in_proot("exit 3"), "");
    let content = fs::read(directory.join("ROOT/tmp/d/f")).unwrap();
    assert_eq!(content, b"content\n");
}

#[test]
fn id_ranges_can_be_switched_off() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let script = "cd /tmp; touch f; busybox chown 33 f; busybox stat -c %u f";
    in_namespaces(&sandbox, script)
        .env("UDOCKER_ID_RANGES", "false")
        .run()
        .succeeds()
        .prints("0");
}
