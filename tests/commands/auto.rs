//! Mode `auto`: the start itself finds out what the host allows.

use crate::container;
use crate::support::sandbox::{Invocation, Sandbox};

const FORBID: &str = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"";

/// The program in a user namespace that allows no further ones.
fn forbidden(program: Invocation) -> Invocation {
    program
        .confined(&["sh", "-c", FORBID])
        .env("UDOCKER_ALLOW_ROOT", "1")
}

#[test]
fn the_fastest_mode_that_works_is_taken_without_a_word() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let run = |mode: &str| {
        let script = "echo $container_execmode; exit 7";
        sandbox
            .udocker(["run", "one", "/bin/sh", "-c", script])
            .env("UDOCKER_DEFAULT_EXECUTION_MODE", mode)
    };
    let allowed = run("auto").run().exits_with(7).prints("R1");
    let forbidden_run = forbidden(run("auto")).run().exits_with(7).prints("P1");
    // The banner, once, whatever was tried.
    assert_eq!(forbidden_run.stderr, allowed.stderr);
    // Asked for by name, it fails with the cause and a way out.
    let named = forbidden(run("R1")).run().exits_with(125);
    let begins = |start: &str| {
        let lines = named.stderr.lines();
        lines.filter(|line| line.starts_with(start)).count()
    };
    assert_eq!((begins("Error: "), begins("Hint: ")), (1, 1), "{named:#?}");
    assert!(
        named.stderr.contains("`user.max_user_namespaces` is 0"),
        "{named:#?}"
    );
}

#[test]
fn setup_keeps_what_works() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let kept = || std::fs::read_to_string(directory.join("execmode")).unwrap();
    let setup = || sandbox.udocker(["setup", "--execmode=auto", "one"]);
    setup().run().succeeds();
    assert_eq!(kept(), "R1");
    forbidden(setup()).run().succeeds();
    assert_eq!(kept(), "P1");
}
