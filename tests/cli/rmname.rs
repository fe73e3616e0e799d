//! `rmname`.

use crate::support::container;
use crate::support::sandbox::Sandbox;

#[test]
fn rmname_takes_one_name_away_and_keeps_the_container() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    sandbox.udocker(["name", "one", "second"]).run().succeeds();
    let ran = sandbox.udocker(["rmname", "one"]).run().succeeds();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let listed = sandbox.udocker(["-q", "ps"]).run().succeeds();
    assert!(listed.stdout.contains(" ['second'] "), "{listed:#?}");
    // The last name can be taken away, too.
    sandbox.udocker(["rmname", "second"]).run().succeeds();
    assert!(directory.join("ROOT").is_dir());
    let id = directory.file_name().unwrap().to_str().unwrap();
    sandbox.udocker(["inspect", id]).run().succeeds();
    sandbox
        .udocker(["rmname", "one"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["no container has the name 'one'"]);
}
