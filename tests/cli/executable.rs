//! The executable itself: how it is linked, who may run it, and its help.

use std::process::Command;

use crate::support::requirement::has_user_namespaces;
use crate::support::sandbox::Sandbox;

#[test]
fn executable_is_statically_linked() {
    let ldd = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_udocker"))
        .output()
        .expect("ldd is part of the C library");
    let said = [ldd.stdout, ldd.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "{said}"
    );
}

#[test]
fn root_needs_allow_root() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| {
        sandbox
            .udocker(args)
            .without_env("UDOCKER_ALLOW_ROOT")
            .confined(&[])
            .run()
    };
    let refused = run(&["images"]);
    refused
        .exits_with(1)
        .errs_in_one_line(&["root", "Hint: ", "--allow-root"]);
    run(&["--allow-root", "images"]).succeeds();
    run(&["--version"]).succeeds();
    run(&["help"]).succeeds();
}

#[test]
fn every_command_has_help() {
    let sandbox = Sandbox::new();
    let output = |args: &[&str]| {
        let ran = sandbox.udocker(args).run().succeeds();
        ran.text().to_string()
    };
    let all = output(&["help"]);
    assert_eq!(output(&[]), all);
    assert_eq!(output(&["--help"]), all);
    let commands = "pull images create ps run inspect verify rm rmi name rmname protect unprotect \
        mkrepo install version search manifest setup login logout showconf";
    for command in commands.split_whitespace() {
        assert!(all.contains(&format!("\n  {command} ")), "{command}: {all}");
        let help = output(&["help", command]);
        assert!(help.contains("Usage: udocker"), "{help}");
        assert_eq!(output(&[command, "--help"]), help);
    }
}

#[test]
fn help_fails_when_stdout_is_full() {
    let sandbox = Sandbox::new();
    for arguments in [&["help"][..], &["help", "run"], &["run", "--help"], &[]] {
        let full = ["sh", "-c", "exec \"$@\" >/dev/full", "sh"];
        sandbox
            .udocker(arguments)
            .through(&full)
            .run()
            .exits_with(1)
            .errs_in_one_line(&["cannot write to standard output"]);
    }
}
