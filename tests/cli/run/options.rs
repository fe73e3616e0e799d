//! Options that are given twice, empty or wrong, as scripts and workflow engines do.

use std::fs;

use crate::support::container;
use crate::support::image::BUSYBOX;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::sandbox::{Ran, Sandbox};
use crate::support::wait::wait_until;

/// An image `lab/tool:1` with a shell.
fn import(sandbox: &Sandbox) {
    let shell = TarEntry::new(b'0', "bin/sh").mode(0o755);
    let shell = shell.content(fs::read(BUSYBOX).unwrap());
    let archive = LayerBuilder::new().entry(shell).finish();
    sandbox.write("tree.tar", archive);
    sandbox
        .udocker(["import", "tree.tar", "lab/tool:1"])
        .run()
        .succeeds();
}

/// Runs `sh -c script` in a new container of that image.
fn run(sandbox: &Sandbox, options: &[&str], script: &str) -> Ran {
    let arguments = ["run", "--nobanner"].iter().chain(options);
    sandbox
        .udocker(arguments.chain(&["lab/tool:1", "sh", "-c", script]))
        .run()
}

fn containers(sandbox: &Sandbox) -> usize {
    let listed = sandbox.udocker(["ps"]).run().succeeds().stdout;
    listed.lines().count() - 1
}

#[test]
fn last_of_repeated_options_counts() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let options = [
        "-q",
        "run",
        "-q",
        "--nobanner",
        "--nobanner",
        "--hostauth",
        "--hostauth",
        "-e",
        "A=1",
        "-w",
        "/nowhere",
        "-e",
        "B=2",
        "--workdir=/tmp",
        "one",
        "sh",
        "-c",
        "echo $PWD $A $B",
    ];
    sandbox.udocker(options).run().succeeds().prints("/tmp 1 2");
}

#[test]
fn empty_option_values_count_as_absent() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    let options = [
        "--rm",
        "--name=",
        "--user=",
        "--workdir=",
        "--kernel=",
        "--pull=",
        "--location=",
        "--platform=",
        "--cpuset-cpus=",
        "--registry=",
        "--index=",
        "--httpproxy=",
        "--env=",
        "--env-file=",
        "--device=",
        "",
    ];
    run(&sandbox, &options, "echo $0 $PWD")
        .succeeds()
        .prints("sh /");
    for arguments in [
        &["create", "--name=", "lab/tool:1"][..],
        &["import", "--platform=", "tree.tar", "lab/other:1"],
        &[
            "import",
            "--tocontainer",
            "--name=",
            "--platform=",
            "tree.tar",
        ],
    ] {
        sandbox.udocker(arguments).run().succeeds();
    }
    assert_eq!(containers(&sandbox), 2);
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    sandbox
        .udocker(["clone", "--name=", "one"])
        .run()
        .succeeds();
    let setup = sandbox.udocker(["setup", "--execmode=", "one"]).run();
    assert!(setup.succeeds().stdout.starts_with("execmode: P1\n"));
}

#[test]
fn run_rm_removes_the_container_whatever_the_status() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    run(&sandbox, &["--rm=True"], "exit 3").exits_with(3);
    let unwritable = format!("--cidfile={}", sandbox.path("none/cid").display());
    run(&sandbox, &["--rm", &unwritable], "exit 3").exits_with(125);
    assert_eq!(containers(&sandbox), 0);
    run(&sandbox, &["--rm", "--rm=0"], "exit 3").exits_with(3);
    assert_eq!(containers(&sandbox), 1);
}

#[test]
fn rm_of_a_running_container_keeps_its_status() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    let script = "echo >/w/began; while [ ! -e /w/go ]; do :; done; exit 3";
    let directory = sandbox.write("w/begin", "");
    let volume = format!("-v={}:/w", directory.parent().unwrap().display());
    let options = ["run", "--nobanner", "--rm", "--name=x", &volume];
    let running = sandbox
        .udocker(options.iter().chain(&["lab/tool:1", "sh", "-c", script]))
        .spawn();
    wait_until("it begins", || sandbox.path("w/began").exists());
    sandbox.udocker(["rm", "x"]).run().succeeds();
    sandbox.write("w/go", "");
    assert_eq!(running.wait().code(), Some(3));
}

#[test]
fn refused_run_makes_no_container() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    for (option, part) in [
        ("--volume=/nowhere", "host path '/nowhere' does not exist"),
        ("--device=tty", "invalid device 'tty'"),
    ] {
        run(&sandbox, &["--name=x", option], "echo")
            .exits_with(125)
            .errs_in_one_line(&[part]);
        assert_eq!(containers(&sandbox), 0, "{option}");
    }
}

#[test]
fn missing_device_is_warned_of() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let run = [
        "run",
        "--nobanner",
        "--device=/dev/nowhere",
        "one",
        "echo",
        "ran",
    ];
    let ran = sandbox.udocker(run).run().succeeds().prints("ran");
    assert_eq!(
        ran.stderr,
        "Warning: `--device=/dev/nowhere` has no effect: this machine has no such device\n"
    );
}

#[test]
fn configuration_names_variables_of_the_host_to_pass() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let text = "[DEFAULT]\nvalid_host_env = ('A', 'TERM')\ninvalid_host_env = C, TERM\n";
    fs::write(sandbox.store().join("udocker.conf"), text).unwrap();
    for (options, expected) in [("--tty", "1..."), ("--hostenv", "1.2..")] {
        let script = "echo $A.$B.$C.$TERM";
        let run = ["run", "--nobanner", options, "one", "sh", "-c", script];
        let run = sandbox.udocker(run).env("A", "1").env("B", "2");
        let ran = run.env("C", "3").env("TERM", "dumb").run();
        ran.succeeds().prints(expected);
    }
}

#[test]
fn variable_without_a_name_is_warned_of() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let run = ["run", "--nobanner", "-e", "=x", "-e", "A=1", "one", "sh"];
    let run = run.iter().chain(&["-c", "echo $A"]);
    let ran = sandbox.udocker(run).run().succeeds().prints("1");
    assert_eq!(
        ran.stderr,
        "Warning: `-e =x` has no effect: the variable has no name\n"
    );
}

#[test]
fn taken_name_has_a_hint() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    run(&sandbox, &["--name=x"], "true").succeeds();
    let ran = run(&sandbox, &["--name=x"], "true").exits_with(1);
    ran.errs_in_one_line(&["container name already exists: 'x'"]);
    assert!(ran.stderr.contains("`udocker rm x`"), "{ran:#?}");
}
