//! `run`: streams, statuses, environment, volumes and working directory.

mod apptainer;
mod attributes;
mod auto_mode;
mod docker_options;
mod id_ranges;
mod inherited;
mod killed;
mod limits;
mod options;
mod signals;
mod users;

use std::os::unix::fs::MetadataExt;

use crate::support::prepared::{BUSYBOX, Distro, storage};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::sandbox::Sandbox;

#[test]
fn run_exits_with_the_status_of_the_command() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let cases = [
        ("true", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
        // A background process must neither change the status nor delay the end.
        ("(sleep 1; exit 7) & exit 3", 3),
        ("sleep 300 & exit 4", 4),
    ];
    for (script, expected) in cases {
        let ran = distro.sh(script).run();
        assert_eq!(ran.code(), expected, "{script}: {ran:#?}");
    }
}

#[test]
fn run_names_why_a_command_cannot_start() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let cases: [(&[&str], &[&str], i32, &str); 6] = [
        (&[], &["no-such-command"], 127, "no-such-command"),
        (&[], &["/no/such/file"], 127, "/no/such/file"),
        (&[], &["/etc/passwd"], 126, "/etc/passwd"),
        (&[], &["/etc"], 126, "/etc"),
        (
            &["-w", "/no/such/directory"],
            &["true"],
            125,
            "/no/such/directory",
        ),
        (
            &["-v", "/no/such/volume"],
            &["true"],
            125,
            "/no/such/volume",
        ),
    ];
    for (options, command, status, part) in cases {
        distro
            .run(options, command)
            .run()
            .exits_with(status)
            .errs_in_one_line(&[part]);
    }
}

#[test]
fn run_passes_stdin_to_a_shell() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let script = "read -r line <<< 'from bash'\necho \"$line\"\nexit 5\n";
    distro
        .run(&[], &["/bin/bash"])
        .stdin(script)
        .run()
        .exits_with(5)
        .prints("from bash");
}

#[test]
fn run_executes_a_pipeline() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    distro
        .sh("seq 1 1000 | grep 7 | sort -rn | head -n 1")
        .run()
        .succeeds()
        .prints("997");
}

#[test]
fn run_passes_streams_unchanged() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let input: Vec<u8> = (0..4_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let expected = udocker::oci::Digest::of(&input);
    let ran = distro
        .sh("sha256sum | cut -c 1-64; echo to stderr >&2")
        .stdin(input)
        .run()
        .succeeds();
    assert_eq!(
        (ran.text(), ran.stderr.as_str()),
        (expected.hex(), "to stderr\n")
    );
}

#[test]
fn run_keeps_empty_arguments_and_blanks() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let args = [
        "/usr/bin/printf",
        "[%s]",
        "",
        " a  b ",
        "$HOME",
        "--rm",
        "ü",
    ];
    distro
        .run(&[], &args)
        .run()
        .succeeds()
        .prints("[][ a  b ][$HOME][--rm][ü]");
}

#[test]
fn run_merges_environment_of_image_and_options() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    distro
        .sh("echo $LANG $PATH")
        .run()
        .succeeds()
        .prints("C.UTF-8 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    distro
        .run(
            &["-e", "A=with blank", "--env=B", "-e", "LANG=C"],
            &["/bin/sh", "-c", "echo \"$A|$B|$LANG|$SECRET\""],
        )
        .env("B", "from the host")
        .env("SECRET", "stays outside")
        .run()
        .succeeds()
        .prints("with blank|from the host|C|");
}

#[test]
fn run_starts_in_the_working_directory_of_image_or_option() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    distro.run(&[], &["pwd"]).run().succeeds().prints("/root");
    distro
        .run(&["-w", "/usr/lib"], &["pwd"])
        .run()
        .succeeds()
        .prints("/usr/lib");
    distro
        .run(&["--workdir=/usr/lib"], &["pwd"])
        .run()
        .succeeds()
        .prints("/usr/lib");
}

#[test]
fn files_written_to_a_volume_belong_to_the_caller() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    let outside = sandbox.write("volume/there", "before");
    let volume = format!("--volume={}:/data/in", sandbox.path("volume").display());
    let script = "cat /data/in/there; umask 022; echo made >/data/in/made; mkdir /data/in/sub; chown 0:0 /data/in/made";
    distro
        .run(&[&volume], &["/bin/sh", "-c", script])
        .run()
        .succeeds()
        .prints("before");
    for name in ["made", "sub"] {
        let data = std::fs::metadata(outside.with_file_name(name)).expect("made inside");
        let caller = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        assert_eq!((data.uid(), data.gid()), caller, "{name}");
    }
    assert_eq!(
        std::fs::read_to_string(outside.with_file_name("made")).expect("made inside"),
        "made\n"
    );
}

#[test]
fn run_binds_a_single_file() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    let file = sandbox.write("file", "bound\n");
    let volume = format!("{}:/etc/bound-file", file.display());
    distro
        .run(&["-v", &volume], &["cat", "/etc/bound-file"])
        .run()
        .succeeds()
        .prints("bound");
}

#[test]
fn quiet_run_prints_only_guest_output() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let ran = distro
        .workplace()
        .udocker(["-q", "run", "distro", "echo", "only"])
        .run()
        .succeeds();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("only\n", ""));
}

#[test]
fn run_works_as_udocker_py_and_in_mode_p2() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    distro
        .sh("echo by link")
        .named_udocker_py()
        .run()
        .succeeds()
        .prints("by link");
    distro
        .sh("echo no seccomp")
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "P2")
        .run()
        .succeeds()
        .prints("no seccomp");
}

#[test]
fn run_creates_or_reuses_containers() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(BUSYBOX);
    let sandbox = Sandbox::new();
    let output = |args: &[&str]| {
        let ran = sandbox.udocker(args).run().succeeds();
        ran.text().to_string()
    };
    let containers = || output(&["-q", "ps"]).lines().count();
    let echo = |options: &[&str]| {
        let args = [&["run", "--nobanner"], options, &[&image, "echo", "here"]].concat();
        assert_eq!(output(&args), "here");
    };
    sandbox
        .udocker(["run", "--pull=never", &image, "true"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&[&format!("'{image}'")]);
    let before = containers();
    echo(&["--rm"]);
    assert_eq!(containers(), before);
    echo(&[]);
    assert_eq!(containers(), before + 1);
    echo(&["--name=kept", "--pull=reuse"]);
    echo(&["--name=kept", "--pull=reuse"]);
    assert_eq!(containers(), before + 2);
    // Concurrent runs, like the jobs of an array.
    let words = ["run", "--name=array", "--pull=reuse", &image, "true"];
    let jobs = [(); 6].map(|()| sandbox.udocker(words).spawn());
    for job in jobs {
        assert!(job.wait().success());
    }
    assert_eq!(containers(), before + 3);
}
