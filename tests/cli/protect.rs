//! `protect` and `unprotect`.

use crate::support::archives::{store_state, two_layers, with_image};

#[test]
fn protected_images_and_containers_are_not_removed() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let udocker = |args: &[&str]| sandbox.udocker(args).run();
    udocker(&["create", "--name=box", "lab/a:1"]).succeeds();
    for (target, remove) in [("box", "rm"), ("lab/a:1", "rmi")] {
        let protected = udocker(&["protect", target]).succeeds();
        assert_eq!(
            (protected.stdout.as_str(), protected.stderr.as_str()),
            ("", "")
        );
        let before = store_state(&sandbox);
        udocker(&[remove, target])
            .exits_with(1)
            .errs_in_one_line(&["is protected", "`udocker unprotect "]);
        assert_eq!(store_state(&sandbox), before);
        udocker(&["unprotect", target]).succeeds().prints("");
        udocker(&[remove, target]).succeeds();
    }
    sandbox.assert_empty();
}

#[test]
fn run_rm_keeps_a_protected_container() {
    let sandbox = crate::support::sandbox::Sandbox::new();
    crate::support::container::busybox(&sandbox);
    sandbox.udocker(["protect", "one"]).run().succeeds();
    let run = ["run", "--nobanner", "--rm", "one", "echo", "ran"];
    sandbox.udocker(run).run().prints("ran");
    sandbox.udocker(["inspect", "one"]).run().succeeds();
}
