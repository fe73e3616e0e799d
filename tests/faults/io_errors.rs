//! Failing disks: `strace` makes one kind of system call after another fail with an input/output
//! error.

use crate::disk::with_image_and_archives;
use crate::kills::{assert_can_be_emptied, assert_sound};
use crate::served::Served;
use crate::support::layer_builder::LayerBuilder;
use crate::support::requirement::skip;
use crate::support::sandbox::{Invocation, Ran, Sandbox};

/// System calls that change or list files. Errors on reading are for `scripts/show-filesystems.sh`,
/// since the same calls read other things, such as random numbers.
const CALLS: [&str; 11] = [
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "link,linkat",
    "symlink,symlinkat",
    "unlink,unlinkat,rmdir",
    "fsync,fdatasync",
    "ftruncate",
    "fchmod,fchmodat",
    "utimensat",
    "getdents64",
    "pwrite64,write",
];

/// The first call that fails, counted from one.
const MOMENTS: [u32; 3] = [1, 2, 9];

/// Runs a command whose `calls` fail from number `moment` on.
fn with_failing(sandbox: &Sandbox, calls: &str, moment: u32, args: &[&str]) -> Ran {
    with_error(sandbox, "EIO", calls, moment, args)
}

/// Runs a command whose `calls` fail with `error` from number `moment` on.
fn with_error(sandbox: &Sandbox, error: &str, calls: &str, moment: u32, args: &[&str]) -> Ran {
    let how = format!("error={error}:when={moment}+");
    tampered(sandbox.udocker(args), calls, &how).run()
}

/// Runs the program with `calls` changed as `how` says in the syntax of strace's `inject`.
pub fn tampered(run: Invocation, calls: &str, how: &str) -> Invocation {
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:{how}");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"];
    run.through(&[&strace[..], &[&trace, "-e", &inject]].concat())
}

pub fn can_trace(sandbox: &Sandbox) -> bool {
    let try_out = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=none"];
    let can = sandbox.udocker(["version"]).through(&try_out).run().code() == 0;
    if !can {
        skip("strace cannot trace here");
    }
    can
}

/// A failing call is either reported in one line or does not matter. No command panics, and
/// everything that is listed afterwards works.
#[test]
fn io_errors_are_reported_and_leave_a_sound_repository() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    if !can_trace(&sandbox) {
        return;
    }
    let commands: [&[&str]; 8] = [
        &["create", "--name=c", &image],
        &["clone", "--name=d", "c"],
        &["rm", "c"],
        &["tag", &image, "lab/other:1"],
        &["rmi", "lab/other:1"],
        &["load", "-i", "saved.tar", "lab/loaded:1"],
        &["import", "tree.tar", "lab/imported:1"],
        &["save", "-o", "again.tar", &image],
    ];
    let mut told = 0;
    for args in commands {
        for calls in CALLS {
            for moment in MOMENTS {
                let ran = with_failing(&sandbox, calls, moment, args);
                match ran.code() {
                    0 => {}
                    1 if ran.stderr.contains("Input/output error") => told += 1,
                    // An earlier round has done it already.
                    1 if ran.stderr.contains("there is ")
                        || ran.stderr.contains("already exists") => {}
                    // The message itself could not be written.
                    1 if calls.ends_with("write") => {}
                    _ => panic!("{calls} fails from the {moment}. on: {ran:#?}"),
                }
            }
        }
        assert_sound(&sandbox);
    }
    assert!(told > 15, "only {told} failures were told");
    assert_can_be_emptied(&sandbox);
}

/// The calls with which a pull accesses the disk; without `write`, which also wakes threads.
const CALLS_OF_PULLS: [&str; 8] = [
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "link,linkat",
    "unlink,unlinkat,rmdir",
    "fsync,fdatasync",
    "pwrite64",
    "fchmod,fchmodat",
    "sync_file_range",
];

#[test]
fn pull_succeeds_after_a_pull_that_hit_io_errors() {
    let served = Served::start();
    let image = served.image("1");
    let mut told = 0;
    for calls in CALLS_OF_PULLS {
        for moment in MOMENTS {
            let sandbox = Sandbox::new();
            if !can_trace(&sandbox) {
                return;
            }
            let ran = with_failing(&sandbox, calls, moment, &["pull", &image]);
            match ran.code() {
                0 => {}
                1 if ran.stderr.contains("Input/output error") => told += 1,
                _ => panic!("{calls} fails from the {moment}. on: {ran:#?}"),
            }
            assert_sound(&sandbox);
            sandbox.udocker(["pull", &image]).run().succeeds();
            assert_sound(&sandbox);
            assert_can_be_emptied(&sandbox);
        }
    }
    assert!(told > 5, "only {told} failures were told");
}

#[test]
fn killed_import_with_mv_does_not_lose_the_archive() {
    let calls = "rename,renameat,renameat2";
    for moment in 1..50 {
        let sandbox = Sandbox::new();
        if !can_trace(&sandbox) {
            return;
        }
        let layer = LayerBuilder::new().file("f", "x").finish();
        let archive = sandbox.write("tree.tar", layer);
        let kill = format!("signal=KILL:when={moment}");
        let import = sandbox.udocker(["import", "--mv", "tree.tar", "lab/x:1"]);
        let ran = tampered(import, calls, &kill).run();
        if ran.code() == 0 {
            assert!(moment > 2 && !archive.exists(), "{ran:#?}");
            return;
        }
        assert_eq!(ran.code(), 128 + 9, "{ran:#?}");
        assert!(archive.exists(), "killed at the {moment}. of {calls}");
    }
    panic!("it never ends by itself");
}

#[test]
fn exceeded_quota_error_names_what_did_not_fit() {
    let served = Served::start();
    let image = served.image("1");
    let sandbox = Sandbox::new();
    if !can_trace(&sandbox) {
        return;
    }
    let quota = "Disk quota exceeded";
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("pwrite64", &["pull", &image], &[quota, "MB are needed"]),
        ("mkdir,mkdirat", &["pull", &image], &[quota]),
        (
            "writev",
            &["create", &image],
            &["layer '", quota, "MB are needed"],
        ),
        ("mkdir,mkdirat", &["create", &image], &[quota]),
    ];
    for (calls, args, parts) in cases {
        if args[0] == "create" {
            sandbox.udocker(["pull", &image]).run().succeeds();
        }
        let ran = with_error(&sandbox, "EDQUOT", calls, 1, args);
        ran.exits_with(1).errs_in_one_line(parts);
        assert_sound(&sandbox);
    }
    assert_can_be_emptied(&sandbox);
}
