//! Listings, results and errors with a small repository, one file each in `sessions/`: command
//! line, output, with `!` before lines of standard error, and exit status.

use std::os::unix::fs::symlink;

use crate::assert_page;
use crate::support::sandbox::Sandbox;

const ID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0";

/// A repository with a protected image, and a container with two names.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    let image = "home/.udocker/repos/lab/tool/1";
    sandbox.write(&format!("{image}/v2"), "");
    sandbox.write(&format!("{image}/TAG"), "lab/tool:1");
    sandbox.write(&format!("{image}/PROTECT"), "");
    sandbox.write("home/.udocker/layers/sha256:00", "");
    let container = format!("home/.udocker/containers/{ID}");
    for (name, content) in [
        (
            "container.json",
            r#"{"os":"linux","architecture":"amd64","config":{"Cmd":["é"]}}"#,
        ),
        ("imagerepo.name", "lab/tool:1"),
        ("ROOT/etc/passwd", ""),
    ] {
        sandbox.write(&format!("{container}/{name}"), content);
    }
    for name in ["work", "second"] {
        symlink(ID, sandbox.store().join("containers").join(name)).unwrap();
    }
    sandbox
}

fn session(page: &str, commands: &[&str]) {
    let sandbox = repository();
    let home = sandbox.home().display().to_string();
    let mut text = String::new();
    for command in commands {
        let ran = sandbox.udocker(command.split(' ')).run();
        text.push_str(&format!("$ udocker {command}\n{}", ran.stdout));
        for line in ran.stderr.lines() {
            text.push_str(&format!("! {line}\n"));
        }
        text.push_str(&format!("status {}\n\n", ran.code()));
    }
    assert_page(
        &format!("sessions/{page}.txt"),
        &text.replace(&home, "/HOME"),
    );
}

#[test]
fn listings_match_their_session() {
    session(
        "listings",
        &[
            "images",
            "-q images",
            "ps",
            "ps -m -p",
            "inspect work",
            "inspect -p second",
            "setup work",
        ],
    );
}

#[test]
fn command_line_errors_match_their_session() {
    session(
        "command-line",
        &[
            "frobnicate",
            "help frobnicate",
            "--frobnicate images",
            "pull",
            "pull --plattform=x y",
            "setup --execmode=Q1 work",
            "manifest show x",
            "login --password=x --password-stdin",
            "search --index=ftp://x y",
            "run",
            "run --frobnicate work",
        ],
    );
}

#[test]
fn name_errors_match_their_session() {
    session(
        "names",
        &[
            "pull UPPER",
            "create absent",
            "rm absent",
            "rmi lab/tool:1",
            "rmi absent:1",
            "inspect absent",
            "--repo=/absent images",
            "name work second",
            "name work a/b",
            "rmname absent",
            "protect absent",
            "logout --registry=quay.io",
        ],
    );
}

#[test]
fn run_errors_match_their_session() {
    session(
        "run",
        &[
            "run --detach work",
            "run --pull=never absent",
            "run -v relative:/x work",
            "run --mount=type=bind,target=/x work",
            "run work nothing-here",
        ],
    );
}
