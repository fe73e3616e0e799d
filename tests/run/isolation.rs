//! Options of Docker that isolate a container: tmpfs, read-only rootfs, devices, host name,
//! processes.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use udocker::host::facts::Machine;

use crate::guest_run::{GuestRun, in_r1, stdout};

#[test]
fn read_only_rootfs_is_writable_only_at_mounts() {
    for sandbox in GuestRun::in_each_mode() {
        fs::create_dir(sandbox.host("data")).unwrap();
        fs::write(sandbox.root().join("etc/file"), "old\n").unwrap();
        let data = format!("volume={}:/new/data", sandbox.host("data").display());
        let script = "for file in /x /etc/file /root/x /tmp/sub/x /new/x; do
                (echo new >$file) 2>/dev/null && echo wrote $file
            done
            rm /etc/file 2>/dev/null && echo removed; mkdir /d 2>/dev/null && echo made
            echo fine >/new/data/f && echo fine >/run/f && cat /new/data/f /run/f && echo >/dev/null";
        let options = ["read-only=yes", "tmpfs=/run", &data];
        assert_eq!(sandbox.output(&options, script), "fine\nfine\n");
        assert_eq!(fs::read(sandbox.host("data/f")).unwrap(), b"fine\n");
        // The next run can write again.
        assert_eq!(sandbox.status(&[], "echo >/x"), Some(0));
    }
}

#[test]
fn tmpfs_begins_empty_and_holds_nested_mounts() {
    for sandbox in GuestRun::in_each_mode() {
        fs::write(sandbox.host("single"), "alone\n").unwrap();
        fs::write(sandbox.root().join("tmp/hidden"), "").unwrap();
        let single = format!("volume={}:/tmp/deep/s", sandbox.host("single").display());
        let options = ["tmpfs=/tmp", &single, "image-workdir=/tmp/work"];
        let script = "ls /tmp; cat /tmp/deep/s; readlink /proc/self/cwd; \
                      echo 'exit 3' >/tmp/s; chmod +x /tmp/s; /tmp/s; echo $?";
        assert_eq!(
            sandbox.output(&options, script),
            "deep\nwork\nalone\n/tmp/work\n3\n"
        );
        let names: Vec<_> = fs::read_dir(sandbox.root().join("tmp")).unwrap().collect();
        assert_eq!(names.len(), 1);
    }
}

#[test]
fn device_option_passes_devices() {
    for sandbox in GuestRun::in_each_mode() {
        for options in [
            &["device=/dev/null:/dev/other"][..],
            &["device=/dev/null:/dev/other", "no-system-directories=yes"],
        ] {
            let script = "test -c /dev/other && echo x >/dev/other && cat /dev/other";
            assert_eq!(sandbox.status(options, script), Some(0), "{options:?}");
        }
        // The other devices stay.
        let script = "test -c /dev/zero && head -c 1 /dev/zero | wc -c; readlink /dev/fd";
        let shown = sandbox.output(&["device=/dev/null:/dev/other"], script);
        assert_eq!(shown, "1\n/proc/self/fd\n");
    }
}

#[test]
fn tmpfs_options_apply_in_namespaces() {
    let Some(sandbox) = in_r1() else { return };
    let script = "dd if=/dev/zero of=/t/x bs=1k count=200 2>/dev/null && echo all
        stat -c %a /t; stat -f -c %T /t; echo 'exit 3' >/t/s; chmod +x /t/s; /t/s 2>/dev/null; echo $?";
    assert_eq!(
        sandbox.output(&["tmpfs=/t:size=64k,mode=700,noexec"], script),
        "700\ntmpfs\n126\n"
    );
    // The effect of `--shm-size`.
    let shared = sandbox.output(&["tmpfs=/dev/shm:size=64k"], "stat -f -c %b /dev/shm");
    assert_eq!(shared, "16\n");
}

#[test]
fn host_name_option_applies_in_namespaces() {
    let own = rustix::system::uname();
    let own = format!("{}\n", own.nodename().to_string_lossy());
    for sandbox in GuestRun::in_each_mode() {
        assert_eq!(sandbox.output(&[], "hostname"), own);
    }
    let Some(sandbox) = in_r1() else { return };
    let shown = sandbox.output(&["hostname=box"], "hostname; cat /proc/sys/kernel/hostname");
    assert_eq!(shown, "box\nbox\n");
    // With PRoot inside, which `--kernel` needs, the guest sees the host's name.
    let shown = sandbox.output(&["hostname=box", "kernel=9.8.7-x"], "hostname; uname -r");
    assert_eq!(shown, format!("{own}9.8.7-x\n"));
    assert_ne!(Machine::look_up().kernel, "9.8.7-x");
}

/// Without a process namespace, the guest sees the processes that started the container, which may
/// hold a password.
#[test]
fn guest_cannot_read_memory_of_host_processes() {
    let Some(sandbox) = in_r1() else { return };
    for options in [&[][..], &["id-ranges=yes"], &["user=1000"]] {
        let script = "for process in /proc/[0-9]*; do
                case $process in /proc/$$) continue;; esac
                for file in mem environ fd/0; do
                    (exec <$process/$file) 2>/dev/null && echo read $process/$file
                done
            done; exec </proc/$$/mem && ls -d /proc/$PPID";
        let parent = sandbox.output(options, script);
        assert!(
            parent.starts_with("/proc/") && parent.lines().count() == 1,
            "{options:?} {parent}"
        );
    }
}

#[test]
fn process_namespace_shows_only_guest_processes() {
    let Some(sandbox) = in_r1() else { return };
    for option in ["processes=own", "processes=reaped"] {
        let shown = sandbox.output(&[option], "echo $$; set -- /proc/[0-9]*; echo $#");
        // The processes are the init and the shell.
        assert_eq!(shown, "2\n2\n", "{option}");
        // The init has files of the host open, and memory of this program.
        let script = "for f in environ mem root fd/0; do
                cat /proc/1/$f >/dev/null 2>&1 && echo read $f
            done
            ls /proc/1/root/ /proc/1/cwd/ 2>/dev/null
            readlink /proc/1/fd/* /proc/1/exe
            kill -KILL 1; kill -STOP 1; test -d /proc/1 && echo there";
        assert_eq!(sandbox.output(&[option], script), "there\n", "{option}");
    }
}

#[test]
fn proc_of_a_process_namespace_can_be_read_only() {
    let Some(sandbox) = in_r1() else { return };
    let script = "busybox awk '$5 == \"/proc\" { print substr($6, 1, 3) }' /proc/self/mountinfo";
    for option in ["processes=own", "processes=reaped"] {
        assert_eq!(sandbox.output(&[option], script), "rw,\n", "{option}");
        let sealed = [option, "volume=/proc:/proc:ro"];
        assert_eq!(sandbox.output(&sealed, script), "ro,\n", "{option}");
    }
}

#[test]
fn init_reaps_forwards_signals_and_returns_the_status() {
    for sandbox in GuestRun::in_each_mode() {
        let option = "processes=reaped";
        for (script, status) in [
            ("exit 7", 7),
            ("kill -KILL $$", 137),
            ("(sleep 300 &) ; exit 3", 3),
            ("(sleep 0.1; exit 9) & exit 4", 4),
        ] {
            assert_eq!(sandbox.status(&[option], script), Some(status), "{script}");
        }
        let no_command = sandbox.run(&[option], &["/no/such"]);
        assert_eq!(no_command.status.code(), Some(127));
        let script = "(sleep 0.1 &) ; sleep 0.4; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
        if sandbox.mode() == "R1" {
            assert_eq!(sandbox.output(&[option], script), "0\n");
        }
        for (sent, status) in [(Signal::TERM, 42), (Signal::USR1, 42), (Signal::INT, 130)] {
            let script = "trap 'exit 42' TERM USR1; touch /tmp/ready; while :; do sleep 0.05; done";
            let mut child = sandbox
                .command(&[option], &["sh", "-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let ready = sandbox.root().join("tmp/ready");
            while !ready.exists() {
                assert!(child.try_wait().unwrap().is_none());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            fs::remove_file(ready).unwrap();
            kill_process(Pid::from_child(&child), sent).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{sent:?}");
            assert_eq!(stdout(&output), "");
        }
    }
}
