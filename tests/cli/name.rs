//! `name`.

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
            .errs_in_one_line(&[&format!("the name '{name}' is taken")]);
    }
}
