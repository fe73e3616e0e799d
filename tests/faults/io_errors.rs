//! Disks that fail: one system call after the other answers with an input/output error. `strace`
//! lets it, from the moment on that it is told.

use crate::disk::with_image;
use crate::kills::{assert_can_be_emptied, assert_sound};
use crate::support::requirement::skip;
use crate::support::sandbox::Sandbox;

/// What changes or lists files. That files cannot be read is for `scripts/show-filesystems.sh`: the
/// calls for it serve other things too, such as random numbers.
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

/// The first of the calls that fail, of those that are made.
const MOMENTS: [u32; 3] = [1, 2, 9];

/// What fails may say so in one line, or be of no matter; it never ends in a panic, and what is
/// listed afterwards works.
#[test]
fn a_disk_that_fails_is_told_and_leaves_a_sound_repository() {
    let sandbox = Sandbox::new();
    let image = with_image(&sandbox);
    let try_out = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=none"];
    if sandbox.udocker(["version"]).through(&try_out).run().code() != 0 {
        skip("strace cannot trace here");
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
                let inject = format!("inject={calls}:error=EIO:when={moment}+");
                let trace = format!("trace={calls}");
                let through = [
                    "strace",
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    &trace,
                    "-e",
                    &inject,
                ];
                let ran = sandbox.udocker(args).through(&through).run();
                match ran.code() {
                    0 => {}
                    1 if ran.stderr.contains("Input/output error") => told += 1,
                    // What has been done by an earlier round.
                    1 if ran.stderr.contains("there is ") || ran.stderr.contains("is taken") => {}
                    // Where nothing can be said, or not to the end.
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
