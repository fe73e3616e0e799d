//! `name`.

use std::fs;

use crate::support::container;
use crate::support::sandbox::Sandbox;

#[test]
fn name_gives_a_container_further_names() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let id = directory.file_name().unwrap().to_str().unwrap();
    for (container, name) in [("one", "second"), (id, "third")] {
        let ran = sandbox.udocker(["name", container, name]).run().succeeds();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    let listed = sandbox.udocker(["-q", "ps"]).run().succeeds();
    assert!(
        listed.stdout.contains("['one', 'second', 'third']"),
        "{listed:#?}"
    );
    let shown = sandbox.udocker(["inspect", "-p", "third"]).run().succeeds();
    shown.prints(directory.join("ROOT").to_str().unwrap());
}

#[test]
fn name_refuses_a_name_that_is_taken() {
    let sandbox = Sandbox::new();
    container::empty(&sandbox);
    sandbox.udocker(["name", "one", "second"]).run().succeeds();
    for name in ["one", "second"] {
        sandbox
            .udocker(["name", "one", name])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[&format!("container name already exists: '{name}'")]);
    }
}

/// In udocker.py, every directory in `containers/` is a container.
#[test]
fn commands_accept_a_container_whose_directory_was_renamed() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let renamed = directory.with_file_name("my.box");
    fs::rename(&directory, &renamed).unwrap();
    let output = |args: &[&str]| sandbox.udocker(args).run().succeeds();
    output(&["name", "my.box", "other"]);
    output(&["setup", "--execmode=P2", "my.box"]);
    output(&["protect", "my.box"]);
    let listed = output(&["ps", "-m"]);
    assert!(listed.stdout.contains("\nmy.box "), "{listed:#?}");
    assert!(listed.stdout.contains(" P W P2 ['other']"), "{listed:#?}");
    for name in ["my.box", "other"] {
        output(&["inspect", "-p", name]).prints(renamed.join("ROOT").to_str().unwrap());
        // Nothing may be pulled in its place.
        output(&["-q", "run", name, "sh", "-c", "echo from $container_uuid"]).prints("from my.box");
    }
    let clone = output(&["clone", "my.box"]);
    assert!(uuid::Uuid::try_parse(clone.text()).is_ok());
    for refused in [
        &["rename", "my.box", "new"][..],
        &["rmname", "my.box"],
        &["rm", "my.box"],
    ] {
        sandbox.udocker(refused).run().exits_with(1);
    }
    for container in ["my.box", clone.text()] {
        output(&["unprotect", container]);
        output(&["rm", container]);
    }
    // The name of the directory before it was renamed leads nowhere.
    output(&["rmname", "one"]);
    sandbox.assert_empty();
}
