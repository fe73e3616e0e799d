//! Modes R2 and R3: PRoot inside namespaces.

use std::fs;

use udocker::host::facts::Machine;

use crate::guest_run::{GuestRun, stdout};

fn in_each_nested_mode() -> impl Iterator<Item = GuestRun> {
    GuestRun::in_modes(&["R2", "R3"])
}

#[test]
fn guest_can_switch_users_and_change_owners() {
    for sandbox in in_each_nested_mode() {
        let script = "cd /tmp; touch f; chown 33:5 f && chown -h 0:0 f && echo chown
            su app -c 'id -u; id -g'; chroot --help >/dev/null 2>&1; id -u
            mknod null c 1 3 && echo device";
        assert_eq!(sandbox.output(&[], script), "chown\n33\n33\n0\ndevice\n");
    }
}

#[test]
fn a_missing_directory_for_temporary_files_does_not_matter() {
    for sandbox in in_each_nested_mode() {
        let mut command = sandbox.command(&[], &["echo", "ran"]);
        let ran = command.env("TMPDIR", "/nowhere").output().unwrap();
        assert_eq!(stdout(&ran), "ran\n", "{ran:#?}");
    }
}

#[test]
fn read_only_volumes_are_read_only_mounts() {
    for sandbox in in_each_nested_mode() {
        fs::create_dir(sandbox.host("data")).unwrap();
        let data = format!("volume={}:/data:ro", sandbox.host("data").display());
        let script = "touch /data/x 2>/dev/null && echo wrote
            grep -c ' /data ro,' /proc/self/mountinfo; uname -r";
        let shown = sandbox.output(&[&data, "kernel=9.8.7-x"], script);
        assert_eq!(shown, "1\n9.8.7-x\n");
        assert_ne!(Machine::look_up().kernel, "9.8.7-x");
    }
}

#[test]
fn proot_leaves_no_file_or_variable() {
    for sandbox in in_each_nested_mode() {
        let names = || {
            let entries = fs::read_dir(sandbox.root()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        assert_eq!(sandbox.output(&[], "env | grep -c PROOT_LOADER"), "0\n");
        assert_eq!(names(), before);
    }
}
