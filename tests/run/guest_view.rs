//! Files, users and environment as the guest sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::guest_run::{GuestRun, stdout};
use udocker::host::facts::{Caller, Machine, gid, uid};

#[test]
fn image_without_account_files_shows_users_of_the_host() {
    let names = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let hosts = names("/etc/hosts");
    for sandbox in GuestRun::in_each_mode() {
        let script = "cat /etc/hosts; grep -c . /etc/hostname";
        // The second run finds the mount points of the first one in the rootfs.
        for _ in 0..2 {
            let lines = names("/etc/hostname").lines().count();
            assert_eq!(sandbox.output(&[], script), format!("{hosts}{lines}\n"));
        }
        // What the guest writes is seen by this run alone.
        let change = "echo more >> /etc/hosts; echo box > /etc/hostname";
        let script = "cat /etc/hosts /etc/hostname 2>/dev/null";
        let changed = sandbox.output(&[], &format!("{change}; {script}"));
        assert_eq!(changed, format!("{hosts}more\nbox\n"));
        let unchanged = format!("{hosts}{}", names("/etc/hostname"));
        assert_eq!(sandbox.output(&[], script), unchanged);
        assert_eq!(names("/etc/hosts"), hosts);
        // On a full disk, the container runs without them.
        let unwritten = sandbox.run(&["run-directory=/none"], &["sh", "-c", script]);
        assert_eq!(stdout(&unwritten), "");
        assert_eq!(String::from_utf8_lossy(&unwritten.stderr), "");
        assert_eq!(sandbox.status(&["read-only=yes"], change), Some(1));
        assert_eq!(sandbox.output(&["no-system-directories=yes"], script), "");
        fs::write(sandbox.host("mine"), "bound\n").unwrap();
        let bound = format!("volume={}:/etc/hosts", sandbox.host("mine").display());
        let own_name = ["hostname=other", &bound];
        assert_eq!(sandbox.output(&own_name, script), "bound\n");
        fs::write(sandbox.root().join("etc/hosts"), "own\n").unwrap();
        assert_eq!(sandbox.output(&["hostname=other"], script), "own\n");
    }
}

#[test]
fn volumes_show_host_files() {
    for sandbox in GuestRun::in_each_mode() {
        fs::create_dir_all(sandbox.host("data/deep")).unwrap();
        fs::write(sandbox.host("data/file"), "content\n").unwrap();
        fs::write(sandbox.host("single"), "alone\n").unwrap();
        let data = format!("volume={}:/data", sandbox.host("data").display());
        let single = format!("volume={}:/data/made/s", sandbox.host("single").display());
        let odd = format!("volume={}:/odd:name!/data", sandbox.host("data").display());
        let same = format!("volume={}", sandbox.host("data").display());
        let script = format!(
            "cat /data/file /data/made/s /odd:name!/data/file {}/file; ls /data/made; echo new >/data/deep/n",
            sandbox.host("data").display()
        );
        assert_eq!(
            sandbox.output(&[&data, &single, &odd, &same], &script),
            "content\nalone\ncontent\ncontent\ns\n"
        );
        assert_eq!(
            fs::read_to_string(sandbox.host("data/deep/n")).unwrap(),
            "new\n"
        );
    }
}

#[test]
fn pipes_as_volumes_do_not_hinder_the_standard_streams() {
    for sandbox in GuestRun::in_each_mode() {
        let volumes = [
            "volume=/proc/self/fd/1:/dev/stdout",
            "volume=/dev/stderr:/dev/stderr",
            "volume=/dev/fd/1:/left-out",
        ];
        let script = "echo out >/dev/stdout; echo err >/dev/stderr; test ! -e /left-out";
        let ran = sandbox.run(&volumes, &["sh", "-c", script]);
        assert_eq!(stdout(&ran), "out\n");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "err\n");
        assert_eq!(ran.status.code(), Some(0));
    }
}

#[test]
fn read_only_volumes_resist_every_way_to_write() {
    for sandbox in GuestRun::in_each_mode() {
        // Paths may hold colons, which upstream PRoot cannot bind.
        fs::create_dir_all(sandbox.host("da:ta/rw")).unwrap();
        fs::write(sandbox.host("da:ta/file"), "content\n").unwrap();
        let read_only = format!("volume={}:/d:ro", sandbox.host("da:ta").display());
        let writable = format!("volume={}:/d/rw", sandbox.host("da:ta/rw").display());
        let script = "cat /d/file; echo x >/d/file; echo x >/d/new; mv /d/file /d/other; \
                      touch /d/file; ln -s /d /tmp/link; echo x >/tmp/link/file; \
                      cd /d && echo x >file; echo fine >rw/file && cat /d/rw/file /d/file";
        assert_eq!(
            sandbox.output(&[&read_only, &writable], script),
            "content\nfine\ncontent\n"
        );
        let names: Vec<_> = fs::read_dir(sandbox.host("da:ta")).unwrap().collect();
        assert_eq!(names.len(), 2);
    }
}

#[test]
fn guest_environment_is_separate_from_the_callers() {
    for sandbox in GuestRun::in_each_mode() {
        let shown = sandbox.output(&["env=A= b  c "], "env");
        let mut names: Vec<&str> = shown
            .lines()
            .filter_map(|line| line.split('=').next())
            // P2 cannot hide its own variable from the guest.
            .filter(|name| *name != "PROOT_NO_SECCOMP")
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "A",
                "HOME",
                "LOGNAME",
                "PATH",
                "PS1",
                "PWD",
                "SHLVL",
                "TERM",
                "USER",
                "USERNAME",
                "container_execmode",
                "container_names",
                "container_root",
                "container_ruser",
                "container_uuid",
            ]
        );
        for line in [
            "A= b  c ",
            "HOME=/root",
            "TERM=dumb",
            "container_names=one,two",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
    }
}

#[test]
fn arguments_arrive_unchanged() {
    for sandbox in GuestRun::in_each_mode() {
        let script = "for a; do echo \"<$a>\"; done";
        let output = sandbox.run(&[], &["sh", "-c", script, "sh", "", " a  b ", "-x"]);
        assert_eq!(stdout(&output), "<>\n< a  b >\n<-x>\n");
    }
}

#[test]
fn guest_runs_as_the_requested_user() {
    for sandbox in GuestRun::in_each_mode() {
        let (uid, gid) = (uid(), gid());
        let caller = format!("{uid}:{gid}");
        for (user, ids, home) in [
            ("root", "0:0", "/root"),
            ("app", caller.as_str(), "/srv"),
            ("invented", caller.as_str(), "/"),
            ("1234:5678", "1234:5678", "/"),
            ("33", "33:33", "/srv"),
        ] {
            let shown = sandbox.output(
                &[&format!("user={user}")],
                "echo $(id -u):$(id -g) $HOME; id -un >/dev/null || echo nobody",
            );
            assert_eq!(shown, format!("{ids} {home}\n"), "{user}");
        }
        if uid != 0 {
            assert_eq!(sandbox.output(&["user=app"], "id -un"), "app\n");
            assert_eq!(sandbox.output(&["user=invented"], "id -un"), "invented\n");
        }
    }
}

#[test]
fn accounts_made_by_emulated_root_persist() {
    for sandbox in GuestRun::in_each_mode() {
        // `useradd` renames a new file over the old one.
        let script = "(cat /etc/passwd; echo bob:x:77:77::/:/bin/sh) >/etc/passwd+ && mv /etc/passwd+ /etc/passwd";
        assert_eq!(sandbox.status(&[], script), Some(0));
        assert_eq!(
            sandbox.output(&["user=77"], "id -un; grep -c bob /etc/passwd"),
            "bob\n1\n"
        );
        let group = fs::read_to_string(sandbox.root().join("etc/group")).unwrap();
        assert_eq!(sandbox.status(&[], "true"), Some(0));
        let again = fs::read_to_string(sandbox.root().join("etc/group")).unwrap();
        assert_eq!(group, again, "the caller's groups are added once");
    }
}

#[test]
fn unknown_user_is_an_error_with_given_account_files() {
    for sandbox in GuestRun::in_each_mode() {
        for accounts in ["accounts=host", "accounts=container"] {
            let output = sandbox.run(&[accounts, "user=no-such-one"], &["true"]);
            assert_eq!(output.status.code(), Some(125), "{accounts}");
        }
        let me = Caller::look_up(None).account.name;
        assert_eq!(
            sandbox.output(&["accounts=host", &format!("user={me}")], "id -un"),
            format!("{me}\n")
        );
    }
}

#[test]
fn working_directory_is_set_and_created() {
    for sandbox in GuestRun::in_each_mode() {
        symlink("/tmp", sandbox.root().join("link")).unwrap();
        for (options, cwd) in [
            (vec![], "/root\n"),
            (vec!["user=nobody-knows"], "/\n"),
            (vec!["workdir=/etc"], "/etc\n"),
            (vec!["workdir=/link"], "/tmp\n"),
            (vec!["image-workdir=/made/for it"], "/made/for it\n"),
            (vec!["image-workdir=/etc", "workdir=/bin"], "/bin\n"),
        ] {
            let output = sandbox.run(&options, &["readlink", "/proc/self/cwd"]);
            assert_eq!(stdout(&output), cwd, "{options:?}");
        }
    }
}

#[test]
fn requested_kernel_release_is_shown() {
    for sandbox in GuestRun::in_each_mode() {
        let own = format!("{}\n", Machine::look_up().kernel);
        assert_eq!(sandbox.output(&[], "uname -r"), own);
        assert_eq!(sandbox.output(&["kernel=9.8.7-x"], "uname -r"), "9.8.7-x\n");
    }
}

#[test]
fn cpu_set_applies_to_the_guest() {
    for sandbox in GuestRun::in_each_mode() {
        assert_eq!(
            sandbox.output(&["cpus=0"], "grep Cpus_allowed_list /proc/self/status"),
            "Cpus_allowed_list:\t0\n"
        );
    }
}

#[test]
fn engine_falls_back_to_another_directory() {
    for sandbox in GuestRun::in_each_mode() {
        // Not even root can make a directory below a file.
        fs::write(sandbox.host("file"), "").unwrap();
        let bin = format!("bin={}/bin", sandbox.host("file").display());
        for script in ["exit 9", "sh -c 'exit 9'"] {
            assert_eq!(sandbox.status(&[&bin], script), Some(9));
        }
        // A file in memory will do, except in the modes that show PRoot in a namespace.
        let is_nested = ["R2", "R3"].contains(&sandbox.mode());
        let own = sandbox.host(&format!("fallback/udocker-{}", uid()));
        assert_eq!(own.exists(), is_nested);
        assert!(!sandbox.host("bin").exists());
    }
}

#[test]
fn concurrent_first_runs_share_one_engine() {
    let sandbox = GuestRun::new("P1");
    for _ in 0..10 {
        let _ = fs::remove_dir_all(sandbox.host("bin"));
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| sandbox.run(&[], &["true"])))
                .collect();
            for run in runs {
                let output = run.join().unwrap();
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!((output.status.code(), &*message), (Some(0), ""));
            }
        });
    }
}

#[test]
fn configured_proot_executable_is_used() {
    for sandbox in ["P1", "P2"].map(GuestRun::new) {
        assert_eq!(sandbox.status(&[], "true"), Some(0));
        let ours = sandbox.host(&format!("bin/proot-{}", std::env::consts::ARCH));
        let other = sandbox.host("other");
        let script = format!(
            "#!/bin/sh\necho other >&2\nexec {} \"$@\"\n",
            ours.display()
        );
        fs::write(&other, script).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
        let option = format!("proot={}", other.display());
        let output = sandbox.run(&[&option], &["sh", "-c", "exit 7"]);
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(output.stderr, b"other\n");
    }
}
