//! Kernels without newer system calls, simulated by a filter.

use crate::support::container;
use crate::support::requirement::allowed_modes;
use crate::support::sandbox::Sandbox;

/// System calls newer than Linux 4.4. libc has no name for the last one, whose number is the same
/// on every architecture.
const NEWER_CALLS: [i64; 17] = [
    libc::SYS_copy_file_range,
    libc::SYS_statx,
    libc::SYS_rseq,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_open,
    libc::SYS_clone3,
    libc::SYS_close_range,
    libc::SYS_openat2,
    libc::SYS_faccessat2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_epoll_pwait2,
    libc::SYS_io_uring_setup,
    FCHMODAT2,
];
const FCHMODAT2: i64 = 452;

#[test]
fn containers_work_without_system_calls_newer_than_linux_4_4() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let udocker = |args: &[&str]| {
        let program = sandbox.udocker(args);
        program
            .without_calls(&NEWER_CALLS, libc::ENOSYS)
            .run()
            .succeeds()
    };
    let volume = format!("--volume={}:/mnt/v:ro", sandbox.home().display());
    for mode in allowed_modes(&["P1", "P2", "R1", "R2", "R3"]) {
        udocker(&["setup", &format!("--execmode={mode}"), "one"]);
        let script = "echo $container_execmode; cat /mnt/v/file; touch /tmp/f; ls /tmp";
        sandbox.write("home/file", "content\n");
        let run = ["run", "--nobanner", &volume, "one", "/bin/sh", "-c", script];
        let ran = udocker(&run).prints(&format!("{mode}\ncontent\nf"));
        assert_eq!(ran.stderr, "");
    }
    let archive = sandbox.path("tmp/tree.tar").display().to_string();
    udocker(&["export", "-o", &archive, "one"]);
    udocker(&["import", &archive, "tree:1"]);
    udocker(&["create", "--name=two", "tree:1"]);
    udocker(&["clone", "--name=three", "two"]);
    udocker(&["run", "--nobanner", "three", "/bin/ls", "/tmp"]).prints("f");
    for name in ["one", "two", "three"] {
        udocker(&["rm", name]);
    }
    udocker(&["rmi", "tree:1"]);
}
