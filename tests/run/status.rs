//! Exit statuses of runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::guest_run::{GuestRun, wrap};

#[test]
fn status_is_that_of_the_main_process() {
    for sandbox in GuestRun::in_each_mode() {
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
            assert_eq!(sandbox.status(&[], script), Some(status), "{script}");
        }
    }
}

#[test]
fn background_processes_neither_delay_the_end_nor_survive() {
    for sandbox in GuestRun::in_each_mode() {
        let start = std::time::Instant::now();
        for _ in 0..10 {
            let script = "sleep 300 & (sleep 300 & sleep 300) & exit 5";
            assert_eq!(sandbox.status(&[], script), Some(5));
        }
        assert!(start.elapsed().as_secs() < 60);
    }
}

#[test]
fn commands_that_cannot_start_exit_with_126_or_127() {
    for sandbox in GuestRun::in_each_mode() {
        let root = sandbox.root();
        fs::write(root.join("bin/plain"), "echo\n").unwrap();
        fs::write(root.join("bin/lost"), "#!/bin/perl\n").unwrap();
        fs::write(root.join("bin/script"), "#!/bin/sh\nexit 6\n").unwrap();
        fs::write(root.join("bin/windows"), "#!/bin/sh\r\nexit 6\n").unwrap();
        // A program for another C library.
        fs::copy("/bin/ls", root.join("bin/linked")).unwrap();
        for name in ["lost", "script", "windows"] {
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
            (
                "linked",
                126,
                "command '/bin/linked' cannot be executed: its interpreter '/",
            ),
            (
                "windows",
                126,
                "its interpreter '/bin/sh\r' is not in the container",
            ),
            ("script", 6, ""),
        ] {
            let output = sandbox.run(&[], &[command]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(status), "{command}: {stderr}");
            assert!(stderr.contains(message), "{command}: {stderr}");
            assert!(stderr.lines().count() < 2, "{command}: {stderr}");
        }
    }
}

/// The work of PRoot for the guest counts towards its own CPU time.
#[test]
fn tracer_over_its_cpu_limit_is_reported() {
    for sandbox in GuestRun::in_each_mode().filter(|sandbox| sandbox.mode() != "R1") {
        // `stat` alone may be a builtin of the shell, which then meets the limit itself.
        let script = "while :; do busybox stat / /bin /etc >/dev/null; done";
        let inner = sandbox.command(&[], &["sh", "-c", script]);
        let mut outer = Command::new("/bin/sh");
        wrap(
            outer.args(["-c", "ulimit -t 1; exec \"$0\" \"$@\""]),
            &inner,
        );
        let output = outer.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains("`ulimit -t`"), "{stderr}");
    }
}

#[test]
fn impossible_requests_exit_with_125() {
    for sandbox in GuestRun::in_each_mode() {
        for (option, message) in [
            ("volume=/no/such:/x", "host path '/no/such' does not exist"),
            ("volume=relative:/x", "host path must be absolute"),
            ("workdir=/none", "working directory '/none' does not exist"),
            ("kernel=a\\b", "invalid kernel release"),
            ("cpus=1023", "cannot stay on the wanted CPUs"),
        ] {
            let output = sandbox.run(&[option], &["true"]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(125), "{option}: {stderr}");
            assert!(stderr.contains(message), "{option}: {stderr}");
        }
    }
}
