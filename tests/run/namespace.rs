//! Mode R1: properties that other modes lack.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::guest_run::{GuestRun, in_r1, stdout};
use crate::support::wait::wait_until;

#[test]
fn volume_around_the_container_is_bound_without_submounts() {
    for sandbox in GuestRun::in_modes(&["R1", "R2"]) {
        let around = sandbox.host("");
        let link = sandbox.host("link");
        symlink(&around, &link).unwrap();
        let volume = |number: usize| {
            let source = [&around, &link][number % 2].display();
            let option = if number == 5 { ":ro" } else { "" };
            format!("volume={source}:/v{number}{option}")
        };
        let volumes: Vec<String> = (1..=12).map(volume).collect();
        let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
        let script = "grep -c ' /v[0-9]' /proc/self/mountinfo
            ls /v12/ROOT/bin/busybox; test -e /v5/ROOT/v1/ROOT || echo once";
        assert_eq!(
            sandbox.output(&volumes, script),
            "12\n/v12/ROOT/bin/busybox\nonce\n"
        );
    }
}

#[test]
fn read_only_volumes_cannot_be_written() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir_all(sandbox.host("data/deep")).unwrap();
    fs::write(sandbox.host("data/file"), "old\n").unwrap();
    fs::write(sandbox.host("single"), "old\n").unwrap();
    let data = format!("volume={}:/data:ro", sandbox.host("data").display());
    let single = format!("volume={}:/single:ro", sandbox.host("single").display());
    let nested = format!("volume={}:/data/deep", sandbox.host("data/deep").display());
    let script = "for file in /data/file /data/new /single; do
            (echo new >$file) 2>/dev/null && echo wrote $file
        done
        mount -o remount,rw,bind /data 2>/dev/null && echo remounted
        mount --bind / /tmp 2>/dev/null && echo mounted
        exec 5</single; (echo new >/proc/self/fd/5) 2>/dev/null && echo wrote through proc
        touch /data/deep/n && echo below";
    // Also with id ranges, and with a process namespace.
    for further in ["", "id-ranges=yes", "processes=own"] {
        let written = sandbox.output(&[&data, &single, &nested, further], script);
        assert_eq!(written, "below\n", "{further}");
        assert_eq!(fs::read(sandbox.host("single")).unwrap(), b"old\n");
    }
    // A writable volume inside a read-only one stays writable.
    assert!(sandbox.host("data/deep/n").exists());
    // Mounts below a read-only `/sys` are read-only, too.
    let system = sandbox.output(
        &["volume=/sys:/sys:ro"],
        "grep ' /sys' /proc/self/mountinfo | grep -vc ' ro,'",
    );
    assert_eq!(system, "0\n");
}

#[test]
fn a_default_volume_that_the_user_asks_for_is_not_left_out() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir(sandbox.root().join("etc/hosts")).unwrap();
    assert_eq!(sandbox.status(&[], "exit 7"), Some(7));
    let output = sandbox.run(&["volume=/etc/hosts"], &["true"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(
        stderr.contains("cannot mount '/etc/hosts' at '/etc/hosts'"),
        "{stderr}"
    );
}

#[test]
fn a_lock_that_a_guest_keeps_on_its_root_stops_no_other_run() {
    let Some(sandbox) = in_r1() else { return };
    let tree = fs::File::open(sandbox.root()).unwrap();
    rustix::fs::flock(&tree, rustix::fs::FlockOperation::LockExclusive).unwrap();
    fs::create_dir(sandbox.host("data")).unwrap();
    let data = format!("volume={}:/new", sandbox.host("data").display());
    assert_eq!(sandbox.output(&[&data], "ls -d /new"), "/new\n");
}

#[test]
fn mount_points_are_removed_after_the_run() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir_all(sandbox.host("data")).unwrap();
    fs::write(sandbox.host("file"), "content\n").unwrap();
    let tree = || {
        let output = Command::new("find").arg(sandbox.root()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let before = tree();
    let data = format!("volume={}:/new/deep/data", sandbox.host("data").display());
    let below = format!(
        "volume={}:/new/deep/data/in/file",
        sandbox.host("file").display()
    );
    // The longer run starts first; the end of the shorter one must not remove its mount points.
    let script = "touch /tmp/ready; sleep 0.5; cat /new/deep/data/in/file; rm /tmp/ready";
    let mut long = sandbox
        .command(&[&data, &below], &["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while !sandbox.root().join("tmp/ready").exists() {
        assert!(long.try_wait().unwrap().is_none());
    }
    let short = "cat /new/deep/data/in/file";
    assert_eq!(sandbox.output(&[&data, &below], short), "content\n");
    assert_eq!(stdout(&long.wait_with_output().unwrap()), "content\n");
    let _ = fs::remove_file(sandbox.root().join("tmp/ready"));
    assert_eq!(tree(), before);
    for option in ["processes=own", "processes=reaped", "id-ranges=yes"] {
        assert_eq!(sandbox.output(&[&data, &below, option], short), "content\n");
        assert_eq!(tree(), before, "{option}");
    }
    assert_eq!(fs::read(sandbox.host("mountpoints")).unwrap(), b"");
}

#[test]
fn mount_points_in_a_shared_volume_survive_other_containers() {
    let (Some(one), Some(two)) = (in_r1(), in_r1()) else {
        return;
    };
    let data = one.host("data");
    fs::create_dir(&data).unwrap();
    fs::write(one.host("file"), "content\n").unwrap();
    let data = format!("volume={}:/w", data.display());
    let file = format!("volume={}:/w/in/file", one.host("file").display());
    let directory = format!("volume={}:/w/more", one.root().join("bin").display());
    let options = [data.as_str(), &file, &directory];
    let wait = "touch /tmp/ready; while test -e /tmp/ready; do sleep 0.05; done";
    let start = |sandbox: &GuestRun, script: &str| {
        let run = sandbox
            .command(&options, &["sh", "-c", &format!("{wait}; {script}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = sandbox.root().join("tmp/ready");
        wait_until("the run is there", || ready.exists());
        (run, ready)
    };
    let (first, first_ready) = start(&one, "exit 7");
    let (second, second_ready) = start(&two, "cat /w/in/file; ls /w/more/sh");
    fs::remove_file(first_ready).unwrap();
    let ended = first.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(7));
    fs::remove_file(second_ready).unwrap();
    let shown = stdout(&second.wait_with_output().unwrap());
    assert_eq!(shown, "content\n/w/more/sh\n");
    // The mount points in the shared directory stay, as with PRoot.
    assert_eq!(fs::read(one.host("data/in/file")).unwrap(), b"");
}

#[test]
fn forged_mount_point_record_removes_nothing_outside_the_rootfs() {
    let (Some(one), Some(two)) = (in_r1(), in_r1()) else {
        return;
    };
    let outside = one.root().join("tmp/empty");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, two.root().join("link")).unwrap();
    fs::create_dir(outside.join("in")).unwrap();
    fs::create_dir(two.host("empty")).unwrap();
    let places = [
        outside.join("in"),
        two.root().join("../empty"),
        two.root().join("link/in"),
    ];
    let lines = places.iter().map(|place| place.as_os_str().as_bytes());
    let note: Vec<u8> = lines.flat_map(|line| [line, b"\0"].concat()).collect();
    fs::write(two.host("mountpoints"), note).unwrap();
    assert_eq!(two.status(&[], "exit 7"), Some(7));
    for place in places {
        assert!(place.exists(), "{}", place.display());
    }
    assert_eq!(fs::read(two.host("mountpoints")).unwrap(), b"");
}

/// Others may write to a repository.
#[test]
fn links_in_place_of_a_containers_own_files_are_not_followed() {
    for sandbox in GuestRun::in_modes(&["P1", "R1", "R2"]) {
        let (outside, missing) = (sandbox.host("outside"), sandbox.host("missing"));
        fs::write(&outside, "content\n").unwrap();
        symlink(&outside, sandbox.host("mountpoints")).unwrap();
        symlink(&missing, sandbox.host("attributes")).unwrap();
        let volume = format!("volume={}:/new/file", outside.display());
        let script = "touch /tmp/f; chown 5:6 /tmp/f; cat /new/file";
        assert_eq!(sandbox.output(&[&volume], script), "content\n");
        assert_eq!(fs::read(&outside).unwrap(), b"content\n");
        assert!(!missing.exists());
    }
}

#[test]
fn symlink_put_above_a_mount_point_is_not_followed_on_removal() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir_all(sandbox.host("outside/in")).unwrap();
    fs::write(sandbox.host("outside/file"), "").unwrap();
    let directory = format!("volume={}:/data/in", sandbox.root().join("bin").display());
    let file = format!(
        "volume={}:/data/file",
        sandbox.host("outside/file").display()
    );
    let outside = sandbox.host("outside");
    let script = format!("mv /data /gone && ln -s {} /data", outside.display());
    assert_eq!(sandbox.status(&[&directory, &file], &script), Some(0));
    assert!(sandbox.host("outside/in").exists());
    assert!(sandbox.host("outside/file").exists());
}

#[test]
fn mount_point_written_to_by_another_run_is_kept() {
    let Some(sandbox) = in_r1() else { return };
    fs::write(sandbox.host("file"), "content\n").unwrap();
    let bind = |target: &str| format!("volume={}:{target}", sandbox.host("file").display());
    let script = "touch /tmp/ready; while test -e /tmp/ready; do sleep 0.1; done; cat /a";
    let long = sandbox
        .command(&[&bind("/a")], &["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the first run is there", || {
        sandbox.root().join("tmp/ready").exists()
    });
    // This run finds the empty mount point in place of the other run's volume.
    assert_eq!(
        sandbox.output(&[], "cat /a; echo mine >/a; rm /tmp/ready"),
        ""
    );
    assert_eq!(stdout(&long.wait_with_output().unwrap()), "content\n");
    assert_eq!(
        fs::read_to_string(sandbox.root().join("a")).unwrap(),
        "mine\n"
    );

    assert_eq!(
        sandbox.output(&[&bind("/b")], "cat /a /b"),
        "mine\ncontent\n"
    );
    assert!(!sandbox.root().join("b").exists());
    assert_eq!(
        fs::read_to_string(sandbox.root().join("a")).unwrap(),
        "mine\n"
    );
}

#[test]
fn emulated_root_may_chown_and_mknod() {
    let Some(sandbox) = in_r1() else { return };
    let script = "cd /tmp; touch f
        chown 33:33 f && chown root:root f && chown -h 0:5 f && echo chown
        mknod null c 1 3 && echo device
        mknod pipe p && test -p pipe && echo pipe
        chown 0:0 /no/such 2>/dev/null || echo missing
        stat -c %u:%g f; id -u";
    assert_eq!(
        sandbox.output(&[], script),
        "chown\ndevice\npipe\nmissing\n0:0\n0\n"
    );
    // A guest that is not root may not.
    let user = sandbox.output(
        &["user=1234:5678"],
        "cd /tmp; chown 33 f 2>/dev/null || echo no",
    );
    assert_eq!(user, "no\n");
}

#[test]
fn guest_cannot_reach_host_files() {
    let Some(sandbox) = in_r1() else { return };
    fs::write(sandbox.host("secret"), "secret\n").unwrap();
    let secret = sandbox.host("secret");
    let script = format!(
        "cat {0} /proc/*/root{0} /proc/*/cwd{0} /proc/*/fd/*{0} /../..{0} 2>/dev/null
        chroot /proc/1/root cat {0} 2>/dev/null
        for root in /proc/[0-9]*/root; do
            test -e $root/bin/busybox && ! test -e $root/tmp/inside && echo $root
        done
        mkdir -p /tmp/jail/bin && cp /bin/busybox /tmp/jail/bin && exec 9</ && chroot /tmp/jail \
            /bin/busybox sh -c 'cd /proc/self/fd/9 2>/dev/null; cd ../../../../..{0} 2>/dev/null && echo out'
        echo end",
        secret.display(),
    );
    fs::write(sandbox.root().join("tmp/inside"), "").unwrap();
    // The second option simulates a host whose root cannot be left by `pivot_root`.
    for option in ["", "refuse=leaving-initramfs"] {
        assert_eq!(sandbox.output(&[option], &script), "end\n", "{option}");
        let root = sandbox.output(&[option], "cd /; cd ../..; ls -d bin; pwd");
        assert_eq!(root, "bin\n/\n", "{option}");
    }
}

#[test]
fn guest_finds_only_bound_host_files() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir(sandbox.host("data")).unwrap();
    for place in ["data/needle-bound", "needle-beside"] {
        fs::write(sandbox.host(place), "").unwrap();
    }
    fs::write(sandbox.root().join("tmp/needle-own"), "").unwrap();
    let data = format!("volume={}:/mnt/data", sandbox.host("data").display());
    // Errors are ignored: processes end meanwhile, and many belong to other users.
    let script = "busybox find / -name 'needle-*' 2>/dev/null | grep -v '^/proc/'
        for way in root cwd fd map_files; do
            busybox find /proc/[0-9]*/$way/ -maxdepth 3 -follow -name 'needle-*' 2>/dev/null
        done | grep -v /needle-own | grep -v /needle-bound
        busybox awk '{ print $5 }' /proc/self/mountinfo | grep -v -e ^/dev/ -e ^/proc/ -e ^/sys/";
    let mut shown: Vec<String> = sandbox
        .output(&[&data], script)
        .lines()
        .map(str::to_string)
        .collect();
    shown.sort();
    let files = [
        "/etc/host.conf",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hostname",
    ];
    let files = files.into_iter().filter(|path| Path::new(path).exists());
    let mut expected: Vec<String> = ["/", "/dev", "/mnt/data", "/proc", "/sys"]
        .into_iter()
        .chain(files)
        .chain(["/mnt/data/needle-bound", "/tmp/needle-own"])
        .map(str::to_string)
        .collect();
    expected.sort();
    assert_eq!(shown, expected);
}

/// Other users may be able to write to the repository.
#[test]
fn pipes_in_place_of_notes_do_not_stop_the_start() {
    for sandbox in GuestRun::in_modes(&["R1", "R2"]) {
        for name in ["mountpoints", "id-ranges", "attributes"] {
            mkfifoat(CWD, sandbox.host(name), Mode::RWXU).unwrap();
        }
        let missing = format!("volume={}:/missing", sandbox.host("data").display());
        fs::create_dir(sandbox.host("data")).unwrap();
        assert_eq!(
            sandbox.output(&[&missing, "id-ranges=yes"], "ls -d /missing"),
            "/missing\n"
        );
    }
}

#[test]
fn two_hundred_runs_start_concurrently() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir(sandbox.host("data")).unwrap();
    let data = format!("volume={}:/new", sandbox.host("data").display());
    let runs: Vec<_> = (0..200)
        .map(|_| {
            let mut command = sandbox.command(&[&data], &["sh", "-c", "test -d /new && exit 7"]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(7));
    }
    assert!(!sandbox.root().join("new").exists());
}

#[test]
fn nested_user_namespace_does_not_lift_read_only_volumes() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir(sandbox.host("data")).unwrap();
    let data = format!("volume={}:/data:ro", sandbox.host("data").display());
    let script = "busybox unshare --user --map-root-user --mount sh -c '
            echo inside
            mount -o remount,rw,bind /data; busybox umount /data; mount --bind /data /tmp
            touch /data/x /tmp/x && echo wrote; ls /data' 2>/dev/null";
    assert_eq!(sandbox.output(&[&data], script), "inside\n");
    assert_eq!(fs::read_dir(sandbox.host("data")).unwrap().count(), 0);
}

#[test]
fn killed_udocker_leaves_no_mount() {
    let Some(sandbox) = in_r1() else { return };
    fs::create_dir(sandbox.host("data")).unwrap();
    let data = format!("volume={}:/new/data", sandbox.host("data").display());
    let script = "touch /new/data/ready; sleep 300";
    let mut child = sandbox
        .command(&[&data], &["sh", "-c", script])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !sandbox.host("data/ready").exists() {
        assert!(child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while sandbox.root().join("new").exists() {
        assert!(start.elapsed().as_secs() < 20, "the mount point stays");
    }
    let root = sandbox.root().display().to_string();
    let tables = fs::read_dir("/proc").unwrap().flatten();
    let mounted = tables.filter(|entry| {
        let table = fs::read_to_string(entry.path().join("mountinfo"));
        table.is_ok_and(|table| table.contains(&root))
    });
    assert_eq!(mounted.count(), 0);
}
