//! `killall -9 udocker` kills all processes of udocker that serve a container at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::container;
use crate::support::requirement::has_user_namespaces;
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

fn processes() -> impl Iterator<Item = (Pid, PathBuf)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        Some((Pid::from_raw(pid)?, entry.path()))
    })
}

/// Whether any process has this root directory.
fn is_inhabited(root: &Path) -> bool {
    let identity = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        Some((data.dev(), data.ino()))
    };
    let tree = identity(root);
    processes().any(|(_, path)| identity(&path.join("root")) == tree)
}

#[test]
fn killing_all_udocker_processes_ends_the_guest() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let data = sandbox.write("data/file", "");
    let volume = format!("{}:/new/data", data.parent().unwrap().display());
    for options in [&[][..], &["--init"], &["--pid=private"]] {
        let script = "(sleep 300 &) ; sleep 300 & touch /new/data/ready; sleep 300";
        let script = script.replace("sleep", "busybox sleep");
        let words = ["one", "sh", "-c", &script];
        let run = [&["run", "--nobanner", "-v", &volume], options, &words].concat();
        let run = sandbox.udocker(run);
        let started = run.env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1").spawn();
        let ready = data.with_file_name("ready");
        wait_until("the guest runs", || ready.exists());
        fs::remove_file(ready).unwrap();
        assert!(is_inhabited(&directory.join("ROOT")));
        let home = sandbox.home().display().to_string();
        for (pid, path) in processes() {
            // Processes of other tests have another home.
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            if fs::read(path.join("comm")).is_ok_and(|name| name == b"udocker\n")
                && String::from_utf8_lossy(&environment).contains(&home)
            {
                kill_process(pid, Signal::KILL).unwrap();
            }
        }
        wait_until("the guests have ended", || {
            !is_inhabited(&directory.join("ROOT")) && !directory.join("ROOT/new").exists()
        });
        // Dropping it kills its process group, so only after the guests have ended.
        drop(started);
    }
}
