//! Mode R1 with subordinate id ranges, which `scripts/make-test-user.sh` grants to the test user.

use std::fs;
use std::os::unix::fs::MetadataExt;

use udocker::host::facts::uid;

use crate::guest_run::{GuestRun, wrap};
use crate::support::requirement::has_id_ranges;

const RANGES: &str = "id-ranges=yes";

#[test]
fn id_ranges_keep_owners_and_allow_switching_users() {
    if !has_id_ranges() {
        return;
    }
    let sandbox = GuestRun::new("R1");
    let script = "cd /tmp; touch f; mkdir d; chown 33:5 f d && chmod 700 d
        stat -c %u:%g f; id -u; chown 70000:0 f 2>/dev/null || echo beyond
        su app -c 'id -u; id -g; touch /tmp/d/own; touch /x' 2>/dev/null
        stat -c %u:%g d/own";
    assert_eq!(
        sandbox.output(&[RANGES], script),
        "33:5\n0\nbeyond\n33\n33\n33:33\n"
    );
    assert!(!sandbox.root().join("x").exists());
    // The next run sees the same owner.
    assert_eq!(sandbox.output(&[RANGES], "stat -c %u:%g /tmp/f"), "33:5\n");
    assert_ne!(
        fs::metadata(sandbox.root().join("tmp/f")).unwrap().uid(),
        uid()
    );
    // The test process cannot remove files of other ids.
    assert_eq!(sandbox.output(&[RANGES], "rm -r /tmp/f /tmp/d"), "");
}

#[test]
fn guest_root_may_use_files_hidden_from_the_caller() {
    if !has_id_ranges() {
        return;
    }
    let sandbox = GuestRun::new("R1");
    let script = "mkdir -p /tmp/bob/src; cp /bin/busybox /tmp/bob/true;
        chown -R 33:33 /tmp/bob; chmod 700 /tmp/bob /tmp/bob/true; mv /tmp/bob/true /tmp/true
        cp /bin/busybox /tmp/bob/true";
    let script = script.replace("cp ", "busybox cp ");
    assert_eq!(sandbox.output(&[RANGES], &script), "");
    for (options, words) in [
        (&["workdir=/tmp/bob/src"][..], &["pwd"][..]),
        (&["image-workdir=/tmp/bob/src"], &["pwd"]),
        (&[], &["/tmp/bob/true"]),
        (&["env=PATH=/tmp/bob:/none"], &["true"]),
        (&["workdir=/tmp"], &["./true"]),
    ] {
        let with = sandbox.run(&[options, &[RANGES]].concat(), words);
        assert_eq!(with.status.code(), Some(0), "{words:?}: {with:?}");
        let without = sandbox.run(options, words);
        let stderr = String::from_utf8_lossy(&without.stderr).into_owned();
        assert!(stderr.contains("Permission denied"), "{words:?}: {stderr}");
        let status = if words == ["pwd"] { 125 } else { 126 };
        assert_eq!(without.status.code(), Some(status), "{words:?}: {stderr}");
    }
    assert_eq!(sandbox.output(&[RANGES], "rm -r /tmp/bob /tmp/true"), "");
}

#[test]
fn id_ranges_apply_in_a_process_namespace() {
    if !has_id_ranges() {
        return;
    }
    let sandbox = GuestRun::new("R1");
    let script = "touch /tmp/f; chown 33:5 /tmp/f; stat -c %u:%g /tmp/f; echo $$; rm /tmp/f";
    let shown = sandbox.output(&[RANGES, "processes=own"], script);
    assert_eq!(shown, "33:5\n2\n");
    // Users other than root have one id.
    let shown = sandbox.output(&[RANGES, "user=1234:5678"], "id -u; id -g");
    assert_eq!(shown, "1234\n5678\n");
}

#[test]
fn unmappable_id_ranges_are_left_out() {
    if !has_id_ranges() {
        return;
    }
    let sandbox = GuestRun::new("R1");
    let inner = sandbox.command(&[RANGES], &["sh", "-c", "chown 33 /tmp && id -u; exit 7"]);
    // With no_new_privs, newuidmap does not become root.
    let output = wrap(
        std::process::Command::new("setpriv").arg("--no-new-privs"),
        &inner,
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(crate::guest_run::stdout(&output), "0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
