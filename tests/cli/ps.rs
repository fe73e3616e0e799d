//! `ps`.

use crate::support::archives::{two_layers, with_image};
use crate::support::container;
use crate::support::sandbox::Sandbox;

#[test]
fn ps_lists_id_protection_names_and_image() {
    let sandbox = with_image(&two_layers(), "quay.io/lab/a:1");
    let create = ["create", "--name=box", "quay.io/lab/a:1"];
    let id = sandbox.udocker(create).run().succeeds();
    let id = id.text();
    let line = |mark: &str| format!("{id} {mark} W {:<18} {:<20}", "['box']", "quay.io/lab/a:1");
    let header = format!("{:<36} P M {:<18} {:<20}", "CONTAINER ID", "NAMES", "IMAGE");
    let listed = sandbox.udocker(["ps"]).run().succeeds();
    listed.prints(&format!("{header}\n{}", line(".")));
    sandbox.udocker(["protect", "box"]).run().succeeds();
    let listed = sandbox.udocker(["ps"]).run().succeeds();
    listed.prints(&format!(
        "{header}
{}",
        line("P")
    ));
}

#[test]
fn ps_lists_mode_auto_by_its_name() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let listed = sandbox
        .udocker(["ps", "-m"])
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "auto")
        .run();
    assert!(listed.succeeds().stdout.contains(" auto "));
}
