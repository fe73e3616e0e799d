//! Options of `docker run`.

use std::fs;

use crate::support::container;
use crate::support::requirement::has_user_namespaces;
use crate::support::sandbox::{Ran, Sandbox};

/// Runs `sh -c script` in the container `one` with these options.
fn run(sandbox: &Sandbox, options: &[&str], script: &str) -> Ran {
    let arguments = ["run", "--nobanner"].iter().chain(options);
    sandbox
        .udocker(arguments.chain(&["one", "sh", "-c", script]))
        .run()
}

#[test]
fn options_without_effect_are_accepted_with_one_message() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    for option in [
        "--shm-size=1g",
        "--gpus=all",
        "--hostname=box",
        "--network=bridge",
        "--ipc=private",
        "--pid=container:x",
        "--pid=private",
        "--privileged",
        "--cap-add=SYS_ADMIN",
        "--ulimit=nofile=9:9",
        "--memory=1g",
        "--cpus=2",
        "--security-opt=seccomp=unconfined",
        "--restart=always",
        "--label=a=b",
        "--group-add=video",
        "--log-driver=syslog",
        "--stop-signal=SIGINT",
        "--mount=target=/data",
        "--volumes-from=x",
        "--dns=1.1.1.1",
    ] {
        let ran = run(&sandbox, &[option], "echo $?").succeeds().prints("0");
        let name = option.split('=').next().unwrap();
        assert!(
            ran.stderr
                .starts_with(&format!("Info: {name} has no effect: ")),
            "{ran:#?}"
        );
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        let quiet = sandbox.udocker(["-q", "run", option, "one", "true"]).run();
        assert_eq!(quiet.succeeds().stderr, "");
    }
    let separate = "-m 1g -l a=b --memory-swap -1 --pids-limit -1 --oom-score-adj -500";
    let separate: Vec<&str> = separate.split(' ').collect();
    let ran = run(&sandbox, &separate, "echo $?").succeeds().prints("0");
    assert_eq!(ran.stderr.lines().count(), 5, "{ran:#?}");
}

#[test]
fn options_that_always_hold_are_accepted_silently() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    for options in [
        &["-it"][..],
        &["-i", "-t", "-a"],
        &[
            "-a",
            "stdin",
            "-a=stdout",
            "--attach",
            "stderr",
            "--attach=stdin",
        ],
        &["-itw", "/tmp"],
        &["--init"],
        &["--network=host", "--pid=host", "--ipc", "host"],
        &["--net", "host"],
        &["--restart=no"],
        &["--read-only=false", "--detach=false", "--init=0"],
        &["--read-only", "--read-only=False", "--hostname="],
        &["-h", "", "--pull", "--rm=false", "--pull", "never"],
    ] {
        let ran = run(&sandbox, options, "touch /x; echo $?")
            .succeeds()
            .prints("0");
        assert_eq!(ran.stderr, "", "{options:?}");
    }
}

#[test]
fn short_h_is_the_host_name_but_alone_asks_for_help() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    for option in [&["-h", "box"][..], &["-h=box"], &["-hbox"]] {
        let ran = run(&sandbox, option, "echo $?").succeeds().prints("0");
        let beginning = "Info: --hostname has no effect: ";
        assert!(ran.stderr.starts_with(beginning), "{ran:#?}");
    }
    let help = sandbox.udocker(["run", "--help"]).run().succeeds();
    assert!(help.stdout.contains("Usage: udocker run"), "{help:#?}");
    sandbox
        .udocker(["run", "-h"])
        .run()
        .succeeds()
        .prints(help.text());
}

#[test]
fn unsupported_options_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let cidfile = sandbox.write("cid", "");
    let below_it = format!("--cidfile={}/cid", cidfile.display());
    let cidfile = format!("--cidfile={}", cidfile.display());
    for (option, part) in [
        ("-d", "--detach is refused: "),
        ("--detach", "--detach is refused: "),
        ("--network=none", "--network is refused: "),
        ("--link=db", "--link is refused: "),
        ("--mount=type=bind,target=/x", "it has no source"),
        (
            "--mount=type=volume,source=data,target=/x",
            "no named volumes",
        ),
        ("--tmpfs=x", "must be absolute"),
        ("--add-host=x", "expected NAME:ADDRESS"),
        (&cidfile, "is there already"),
        (&below_it, "cannot write '"),
    ] {
        run(&sandbox, &[option], "echo")
            .exits_with(125)
            .errs_in_one_line(&[part]);
    }
    run(&sandbox, &["--read-only=yes"], "echo")
        .exits_with(2)
        .errs_in_one_line(&[
            "invalid value 'yes' for '--read-only",
            "expected true or false",
        ]);
    run(&sandbox, &["--location=/", "--cidfile=new"], "echo")
        .exits_with(125)
        .errs_in_one_line(&["--cidfile is refused: "]);
}

#[test]
fn missing_directory_for_temporary_files_is_named_once_with_a_hint() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let tmp = sandbox.path("missing");
    for option in ["--tmpfs=/run", "--add-host=db:10.0.0.1", "--location=/"] {
        let invocation = sandbox.udocker(["run", option, "one", "true"]);
        let ran = invocation.env("TMPDIR", &tmp).run().exits_with(125);
        assert_eq!(
            ran.stderr,
            format!(
                "Error: cannot create a directory in '{}': No such file or directory (os error 2)\n\
                 Hint: name another directory for temporary files with UDOCKER_TMP or TMPDIR\n",
                tmp.display()
            )
        );
    }
}

#[test]
fn mount_option_binds_directories_and_makes_tmpfs() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let file = sandbox.write("data/a,b", "content");
    let bind = format!(
        "type=bind,source={},target=/in",
        file.parent().unwrap().display()
    );
    run(&sandbox, &["--mount", &bind], "cat /in/a,b")
        .succeeds()
        .prints("content");
    let read_only = format!("--mount={bind},readonly=True");
    run(
        &sandbox,
        &[&read_only],
        "cat /in/a,b; echo more 2>/dev/null > /in/a,b || echo; ls /in",
    )
    .succeeds()
    .prints("content\na,b");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");

    let options = [
        "--tmpfs",
        "/scratch:size=1m",
        "--mount=type=tmpfs,dst=/more",
    ];
    for _ in 0..2 {
        // The next run does not see files of the previous one.
        run(
            &sandbox,
            &options,
            "ls /scratch /more; touch /scratch/x /more/x",
        )
        .succeeds()
        .prints("/more:\n\n/scratch:");
    }
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
}

#[test]
fn read_only_container_is_writable_at_mounts() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let script = "touch /x 2>/dev/null || echo no; touch /tmp/x && echo yes; echo > /dev/null";
    run(&sandbox, &["--read-only", "--tmpfs=/tmp"], script)
        .succeeds()
        .prints("no\nyes");
    assert!(!directory.join("ROOT/x").exists());
    run(&sandbox, &[], "touch /x").succeeds();
    assert!(directory.join("ROOT/x").exists());
}

#[test]
fn namespace_modes_give_host_name_processes_and_tmpfs() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let options = [
        "--hostname=box",
        "--pid=private",
        "--shm-size=1m",
        "--tmpfs=/scratch:size=1m",
        "--init",
    ];
    let script = "cat /proc/sys/kernel/hostname; set -- /proc/[0-9]*; echo $#; \
                  while read -r d p t o r; do case $p in /dev/shm | /scratch) echo $p ${o##*,size=};; esac; done </proc/mounts";
    let arguments = ["run", "--nobanner"].iter().chain(&options);
    let ran = sandbox
        .udocker(arguments.chain(&["one", "sh", "-c", script]))
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "R1")
        .run()
        .succeeds();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[..2], ["box", "2"], "{ran:#?}");
    for place in ["/dev/shm 1024k", "/scratch 1024k"] {
        assert!(
            lines[2..].iter().any(|line| line.starts_with(place)),
            "{ran:#?}"
        );
    }
    assert_eq!(ran.stderr, "");
}

#[test]
fn add_host_and_cidfile_take_effect() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let options = ["--add-host=db:10.1.2.3", "--add-host", "me=host-gateway"];
    let ran = run(&sandbox, &options, "cat /etc/hosts").succeeds();
    assert_eq!(
        ran.stdout,
        "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.1.2.3\tdb\n127.0.0.1\tme\n"
    );
    let cidfile = sandbox.path("cid");
    let option = format!("--cidfile={}", cidfile.display());
    run(&sandbox, &[&option], "true").succeeds();
    assert_eq!(
        fs::read_to_string(cidfile).unwrap(),
        directory.file_name().unwrap().to_str().unwrap()
    );
}
