//! Mode `auto`: the start of the container finds out whether the host allows namespaces, and a
//! refusal is remembered.

use std::fs;

use crate::support::container;
use crate::support::requirement::{allowed_modes, has_user_namespaces, skip};
use crate::support::sandbox::{Invocation, Sandbox};

const FORBID: &str = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"";

/// Runs the program in a user namespace that allows no nested ones.
fn forbidden(program: Invocation) -> Invocation {
    program
        .confined(&["sh", "-c", FORBID])
        .env("UDOCKER_ALLOW_ROOT", "1")
}

#[test]
fn run_exits_with_125_where_proot_does_not_work() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    for mode in ["P1", "P2"] {
        let ran = sandbox
            .udocker(["-q", "run", "one", "/bin/sh", "-c", "exit 7"])
            .env("UDOCKER_DEFAULT_EXECUTION_MODE", mode)
            .without_calls(&[libc::SYS_ptrace], libc::EPERM)
            .run()
            .exits_with(125);
        let says = |part| {
            ran.stderr
                .lines()
                .filter(|line| line.starts_with(part))
                .count()
        };
        assert_eq!((says("Error: "), says("Hint: ")), (1, 1), "{ran:#?}");
        assert!(ran.stderr.contains("ptrace"), "{ran:#?}");
    }
}

#[test]
fn auto_takes_the_fastest_working_mode_silently() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let run = |mode: &str| {
        let script = "echo $container_execmode; exit 7";
        sandbox
            .udocker(["run", "one", "/bin/sh", "-c", script])
            .env("UDOCKER_DEFAULT_EXECUTION_MODE", mode)
    };
    let refused = |call: i64| move |run: Invocation| run.without_calls(&[call], libc::EPERM);
    let policy = "a security policy forbids them";
    let without_proc = |run: Invocation| {
        let script = "mount -t tmpfs none /proc; exec \"$0\" \"$@\"";
        let run = run.confined(&["sh", "-c", script]);
        run.env("UDOCKER_ALLOW_ROOT", "1")
    };
    let hosts: [(&str, &dyn Fn(Invocation) -> Invocation); 5] = [
        ("`user.max_user_namespaces` is 0", &forbidden),
        ("/proc, where ids are mapped, is not there", &without_proc),
        (policy, &refused(libc::SYS_unshare)),
        (policy, &refused(libc::SYS_mount)),
        (policy, &refused(libc::SYS_pivot_root)),
    ];
    let allowed = run("auto").run().exits_with(7).prints("R1");
    for (cause, host) in hosts {
        let fallen_back = host(run("auto")).run().exits_with(7).prints("P1");
        // Standard error holds the banner, once, whatever was tried.
        assert_eq!(fallen_back.stderr, allowed.stderr, "{cause}");
        // Mode R1 requested by name fails with the cause and a hint.
        let named = host(run("R1")).run().exits_with(125);
        let begins = |start: &str| {
            let lines = named.stderr.lines();
            lines.filter(|line| line.starts_with(start)).count()
        };
        assert_eq!((begins("Error: "), begins("Hint: ")), (1, 1), "{named:#?}");
        assert!(named.stderr.contains(cause), "{named:#?}");
        assert!(named.stderr.contains("P1 works"), "{named:#?}");
    }
}

#[test]
fn auto_takes_a_working_mode_inside_a_container() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    sandbox
        .udocker(["clone", "--name=two", "one"])
        .run()
        .succeeds();
    let store = format!("{0}:{0}", sandbox.store().display());
    let program = format!("{}:/udocker", env!("CARGO_BIN_EXE_udocker"));
    let home = format!("HOME={}", sandbox.home().display());
    for outer in allowed_modes(&["P1", "R1", "R2"]) {
        // PRoot around a process allows no user namespaces.
        let inner = if outer == "R1" { "R1" } else { "P1" };
        let words = [
            "run",
            "--nobanner",
            "-v",
            &store,
            "-v",
            &program,
            "-e",
            &home,
        ];
        let inside = [
            "-e",
            "UDOCKER_DEFAULT_EXECUTION_MODE=auto",
            "one",
            "/udocker",
        ];
        let run = ["--allow-root", "run", "--nobanner", "two", "sh", "-c"];
        let script = ["echo $container_execmode; exit 7"];
        let ran = sandbox
            .udocker([&words[..], &inside, &run, &script].concat())
            .env("UDOCKER_DEFAULT_EXECUTION_MODE", outer)
            .run()
            .exits_with(7)
            .prints(inner);
        assert_eq!(ran.stderr, "", "{outer}");
    }
}

#[test]
fn setup_auto_stores_a_working_mode() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let kept = || std::fs::read_to_string(directory.join("execmode")).unwrap();
    let setup = || sandbox.udocker(["setup", "--execmode=auto", "one"]);
    setup().run().succeeds();
    assert_eq!(kept(), "R1");
    forbidden(setup()).run().succeeds();
    assert_eq!(kept(), "P1");
}

#[test]
fn auto_remembers_a_refusal_until_the_next_boot() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    if !status.contains("Seccomp:\t0\n") || !status.contains("TracerPid:\t0\n") {
        skip("a filter or tracer around the tests may be what refuses");
        return;
    }
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let run = || {
        let run = ["--debug", "run", "one", "echo", "done"];
        let run = sandbox.udocker(run).env("UDOCKER_ALLOW_ROOT", "1");
        run.env("UDOCKER_DEFAULT_EXECUTION_MODE", "auto")
    };
    let note = || {
        let entries = fs::read_dir(sandbox.store().join("bin")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_string_lossy().contains("/refused-"))
    };
    // Each attempt prints its mode. `between` runs between two attempts in one user namespace.
    let attempts = |between: &str| {
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces; \"$0\" \"$@\"; {between}; \"$0\" \"$@\""
        );
        let ran = run().confined(&["sh", "-c", &script]).run().succeeds();
        assert_eq!(ran.stdout, "done\ndone\n", "{ran:#?}");
        let count = |mode: &str| ran.stderr.matches(&format!(" mode: {mode}, ")).count();
        (count("R1"), count("P1"))
    };
    assert_eq!(attempts("true"), (1, 2));
    let path = note().expect("a note");
    let edit = format!("sed -i 's/^boot .*/boot another/' '{}'", path.display());
    assert_eq!(attempts(&edit), (2, 2));
    // Where namespaces are allowed, the record has no effect.
    let allowed = run().run().succeeds();
    assert!(!allowed.stderr.contains(" mode: P1, "), "{allowed:#?}");
    // A refusal by a system call filter is not recorded: the filter may apply to this run only.
    fs::remove_file(path).unwrap();
    let refused = run().without_calls(&[libc::SYS_unshare], libc::EPERM).run();
    assert!(refused.succeeds().stderr.contains(" mode: P1, "));
    assert_eq!(note(), None);
}
