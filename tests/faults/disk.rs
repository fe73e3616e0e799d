//! Disks that are full, or cannot be written.

use crate::served::Served;
use crate::support::requirement::skip;
use crate::support::sandbox::{Ran, Sandbox};

/// Runs the program where `script` has set up mounts of its own; the script ends by `exec "$@"`
/// or does more with `"$@"`. `None` where the system allows no such mounts.
fn with_mounts(sandbox: &Sandbox, script: &str, args: &[&str]) -> Option<Ran> {
    let try_out = sandbox.udocker(["version"]);
    let try_out = try_out.confined(&["sh", "-c", "mount -t tmpfs none /mnt"]);
    if try_out.run().code() != 0 {
        skip("the system lets users make no mounts of their own");
        return None;
    }
    let run = sandbox.udocker(args).env("UDOCKER_ALLOW_ROOT", "1");
    Some(run.confined(&["sh", "-c", script, "sh"]).run())
}

#[test]
fn a_full_disk_is_named_and_leaves_a_sound_repository() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    let mut failures = 0;
    for kilobytes in [16, 64, 400, 1500, 2500, 3600, 5000, 6000, 7000, 30_000] {
        let script = format!(
            r#"mkdir -p "$HOME/.udocker" && mount -t tmpfs -o size={kilobytes}k none "$HOME/.udocker" || exit 99
            "$@" pull {image} && "$@" create --name=c {image} && status=0 || status=1
            echo "status $status"
            exec 2>&1
            "$@" images | tail -n +2 | while read -r name _; do "$@" -q verify "$name" || echo broken; done
            "$@" ps | tail -n +2 | while read -r id _; do "$@" run --nobanner "$id" true || echo broken; done
            "$@" gc --all >"$HOME/gc" || cat "$HOME/gc"
            find "$HOME/.udocker" -path '*staging/*' -print"#
        );
        let Some(ran) = with_mounts(&sandbox, &script, &[]) else {
            return;
        };
        let mut lines = ran.stdout.lines().filter(|line| !line.contains('-'));
        if lines.next() == Some("status 1") {
            failures += 1;
            let says_why = ["No space left on device", "are needed"];
            assert!(
                says_why.iter().any(|part| ran.stderr.contains(part)),
                "{ran:#?}"
            );
        }
        let rest: Vec<&str> = lines.collect();
        assert!(
            rest.iter()
                .all(|line| !line.contains("broken") && !line.contains("staging")),
            "{ran:#?}"
        );
    }
    assert!(
        (1..10).contains(&failures),
        "{failures} of ten disks were too small"
    );
}

#[test]
fn a_repository_that_cannot_be_written_serves_in_silence() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox
        .udocker(["create", "--name=c", &image])
        .run()
        .succeeds();
    let script = r#"mount --bind "$HOME" "$HOME" && mount -o remount,bind,ro "$HOME" && exec "$@""#;
    let commands: [&[&str]; 6] = [
        &["images"],
        &["ps"],
        &["inspect", "c"],
        &["inspect", &image],
        &["-q", "verify", &image],
        &["run", "--nobanner", "c", "true"],
    ];
    for args in commands {
        let Some(ran) = with_mounts(&sandbox, script, args) else {
            return;
        };
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:#?}");
    }
}
