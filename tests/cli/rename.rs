//! `rename`.

use crate::support::archives::{store_state, two_layers, with_image};

#[test]
fn rename_changes_the_name_or_leaves_no_trace() {
    let sandbox = with_image(&two_layers(), "lab/tool:1");
    let id = sandbox
        .udocker(["create", "--name=old", "lab/tool:1"])
        .run()
        .succeeds();
    sandbox
        .udocker(["create", "--name=other", "lab/tool:1"])
        .run()
        .succeeds();
    let before = store_state(&sandbox);
    for (args, code, part) in [
        (
            &["missing", "new"][..],
            1,
            "no container has the name 'missing'",
        ),
        (
            &["old", "other"],
            1,
            "container name already exists: 'other'",
        ),
        (&["old", "../new"], 1, "names may not have"),
        (&["old", "a\u{7}"], 1, "names may not have"),
        (&["old", &"n".repeat(300)], 1, "longer than"),
        // An id is not a name and cannot be renamed.
        (&[id.text(), "new"], 1, "looks like a container id"),
        (&["old"], 2, "NEW"),
    ] {
        sandbox
            .udocker(["rename"].iter().chain(args))
            .run()
            .exits_with(code)
            .errs_in_one_line(&[part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
    sandbox
        .udocker(["rename", "old", "new"])
        .run()
        .succeeds()
        .prints("");
    let path = sandbox.udocker(["inspect", "-p", "new"]).run().succeeds();
    assert!(path.text().contains(id.text()));
    sandbox.udocker(["inspect", "old"]).run().exits_with(1);
}
