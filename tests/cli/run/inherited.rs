//! What `run` inherits from its caller: signals that are blocked or ignored, and the terminal.

use std::fs;

use rustix::process::Signal;

use crate::support::container;
use crate::support::requirement::{allowed_modes, has_id_ranges, has_tools, has_user_namespaces};
use crate::support::sandbox::{Invocation, Sandbox};
use crate::support::wait::wait_until;

fn run(sandbox: &Sandbox, options: &[&str], mode: &str, script: &str) -> Invocation {
    let words = ["one", "sh", "-c", script];
    sandbox
        .udocker([&["run", "--nobanner"], options, &words].concat())
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", mode)
}

const BLOCKED: &[&str] = &["env", "--block-signal=CHLD", "--block-signal=TERM"];
const IGNORED: &[&str] = &["env", "--ignore-signal=CHLD"];

#[test]
fn signals_blocked_or_ignored_by_the_caller_arrive() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let allowed = allowed_modes(&["P1", "R1"]);
    let runs = [("P1", &[][..]), ("R1", &[]), ("R1", &["--init"])];
    for (mode, options) in runs.iter().filter(|(mode, _)| allowed.contains(mode)) {
        for caller in [BLOCKED, IGNORED] {
            let run = |script| run(&sandbox, options, mode, script).through(caller);
            let ended = run("true; exit 7").spawn().wait();
            assert_eq!(ended.code(), Some(7), "{mode} {options:?} {caller:?}");
            let script =
                "trap 'exit 42' TERM; touch /tmp/ready; while :; do busybox sleep 0.05; done";
            let started = run(script).spawn();
            let ready = directory.join("ROOT/tmp/ready");
            wait_until("the guest runs", || ready.exists());
            fs::remove_file(ready).unwrap();
            started.signal(Signal::TERM);
            let ended = started.wait();
            assert_eq!(ended.code(), Some(42), "{mode} {options:?} {caller:?}");
        }
    }
}

#[test]
fn id_ranges_work_with_sigchld_ignored() {
    if !has_id_ranges() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let script = "cd /tmp; touch f; busybox chown 33 f; busybox stat -c %u f; rm f";
    for options in [&[][..], &["--init"]] {
        let ran = run(&sandbox, options, "R1", script).through(IGNORED).run();
        ran.prints("33");
    }
}

/// The caller has no job control, so it cannot take the terminal back by itself.
#[test]
fn terminal_returns_to_the_caller_after_a_guest_shell() {
    if !has_tools(&["script"]) || !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    for option in ["--init", "--pid=private"] {
        let command =
            format!("bin/udocker run --nobanner {option} one sh -i; read word; echo \"<$word>\"");
        let ran = sandbox
            .udocker([""; 0])
            .env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1")
            .through(&[
                "sh",
                "-c",
                &format!("(sleep 1; echo exit; sleep 1; echo mine; sleep 1) | script -qec '{command}' /dev/null"),
            ])
            .run();
        assert!(ran.stdout.contains("<mine>"), "{ran:#?}");
    }
}
