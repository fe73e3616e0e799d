//! What `run` returns.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::sandbox::Sandbox;

const MODES: [&str; 2] = ["mode=P1", "mode=P2"];

#[test]
fn the_status_is_that_of_the_main_process() {
    let sandbox = Sandbox::new();
    for mode in MODES {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", 255),
            ("kill -KILL $$", 137),
            ("kill -TERM $$", 143),
            ("(sleep 0.1; exit 9) & exit 3", 3),
            ("(exit 9) & sleep 0.1; exit 4", 4),
            ("no-such-command", 127),
        ] {
            assert_eq!(
                sandbox.status(&[mode], script),
                Some(status),
                "{mode} {script}"
            );
        }
    }
}

#[test]
fn background_children_neither_hold_up_nor_survive() {
    let sandbox = Sandbox::new();
    for mode in MODES {
        let start = std::time::Instant::now();
        for _ in 0..10 {
            let script = "sleep 300 & (sleep 300 & sleep 300) & exit 5";
            assert_eq!(sandbox.status(&[mode], script), Some(5), "{mode}");
        }
        assert!(start.elapsed().as_secs() < 60, "{mode}");
    }
}

#[test]
fn commands_that_cannot_run_have_their_own_statuses() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    fs::write(root.join("bin/plain"), "echo\n").unwrap();
    fs::write(root.join("bin/lost"), "#!/bin/perl\n").unwrap();
    fs::write(root.join("bin/script"), "#!/bin/sh\nexit 6\n").unwrap();
    for name in ["lost", "script"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.join("bin").join(name), mode).unwrap();
    }
    for (command, status, message) in [
        (
            "nothing",
            127,
            "command 'nothing' not found in the container",
        ),
        ("/nothing", 127, "looked for '/nothing'"),
        ("/bin/plain", 126, "no execute permission"),
        ("/etc", 126, "not a file"),
        (
            "lost",
            126,
            "its interpreter '/bin/perl' is not in the container",
        ),
        ("script", 6, ""),
    ] {
        let output = sandbox.run(&[], &[command]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{command}: {stderr}");
        assert!(stderr.contains(message), "{command}: {stderr}");
    }
}

#[test]
fn impossible_wishes_have_status_125() {
    let sandbox = Sandbox::new();
    for (option, message) in [
        ("volume=/no/such:/x", "host path '/no/such' does not exist"),
        ("volume=relative:/x", "host path must be absolute"),
        ("workdir=/none", "working directory '/none' does not exist"),
        ("kernel=a\\b", "invalid kernel release"),
        ("cpus=1023", "cannot stay on the wanted CPUs"),
        ("mode=R1", "mode R1 is not available"),
    ] {
        let output = sandbox.run(&[option], &["true"]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{option}: {stderr}");
        assert!(stderr.contains(message), "{option}: {stderr}");
    }
}
