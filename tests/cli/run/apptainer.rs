//! Mode S1, with a script in Apptainer's place that prints its arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::container;
use crate::support::sandbox::{Invocation, Sandbox};

fn run(sandbox: &Sandbox) -> Invocation {
    let setup = sandbox.udocker(["setup", "--execmode=S1", "one"]).run();
    assert_eq!(setup.succeeds().stderr, "");
    sandbox.udocker(["run", "--nobanner", "-e", "A=b c", "one", "echo", "x"])
}

#[test]
fn apptainer_gets_command_environment_and_binds() {
    for (name, prefix) in [
        ("apptainer", "APPTAINERENV"),
        ("singularity", "SINGULARITYENV"),
    ] {
        let sandbox = Sandbox::new();
        let directory = container::busybox(&sandbox);
        let program = sandbox.write(
            &format!("programs/{name}"),
            format!(
                "#!/bin/sh\nfor word; do echo \"<$word>\"; done; echo \"${prefix}_A\"; exit 7\n"
            ),
        );
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
        let ran = run(&sandbox).env("PATH", path).run().exits_with(7);
        let lines: Vec<&str> = ran.text().lines().collect();
        assert_eq!(
            lines[..3],
            ["<--quiet>", "<exec>", "<--cleanenv>"],
            "{ran:#?}"
        );
        let root = fs::canonicalize(directory.join("ROOT")).unwrap();
        let end = [&format!("<{}>", root.display()), "<echo>", "<x>", "b c"];
        assert_eq!(lines[lines.len() - 4..], end, "{ran:#?}");
        assert!(lines.contains(&"</dev:/dev>"), "{ran:#?}");
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn configured_apptainer_executable_is_used() {
    for (name, prefix) in [
        ("apptainer-1.3", "APPTAINERENV"),
        ("singularity", "SINGULARITYENV"),
    ] {
        let sandbox = Sandbox::new();
        container::busybox(&sandbox);
        let script = format!("#!/bin/sh\necho \"${prefix}_A\"\n");
        let program = sandbox.write(&format!("elsewhere/{name}"), script);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let named = |path: &str| {
            run(&sandbox)
                .env("UDOCKER_USE_SINGULARITY_EXECUTABLE", path)
                .run()
        };
        named(program.to_str().unwrap()).succeeds().prints("b c");
        named("/nowhere/apptainer")
            .exits_with(125)
            .errs_in_one_line(&["'/nowhere/apptainer'"]);
    }
}

#[test]
fn options_without_effect_in_s1_are_reported() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let program = sandbox.write("programs/apptainer", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let said = |option: &str| {
        let run = ["run", "--nobanner", option, "one", "echo"];
        let run = sandbox.udocker(run).env("PATH", &path);
        let ran = run.env("UDOCKER_DEFAULT_EXECUTION_MODE", "S1").run();
        ran.succeeds().stderr
    };
    assert_eq!(said("--user=0"), "");
    let told = "Info: --user has no effect: Apptainer knows root and yourself only\n";
    assert_eq!(said("--user=4321"), told);
    // Options about mounts that Apptainer does not make are reported, too.
    let told = "Info: --shm-size has no effect: /dev/shm is the host's\n";
    assert_eq!(said("--shm-size=1g"), told);
    let told = "Info: the options of --tmpfs have no effect: it is a directory of the host\n";
    assert_eq!(said("--tmpfs=/scratch:mode=700"), told);
    assert_eq!(said("--tmpfs=/scratch"), "");
}

#[test]
fn missing_apptainer_is_reported() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let ran = run(&sandbox).run().exits_with(125);
    ran.errs_in_one_line(&["neither apptainer nor singularity is in PATH"]);
    assert!(ran.stderr.contains("Hint: "), "{ran:#?}");
}

#[test]
fn paths_apptainer_cannot_bind_are_refused() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let program = sandbox.write("programs/apptainer", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let source = sandbox.write("a,b", "");
    let volume = format!("{}:/mount/point", source.display());
    let ran = sandbox
        .udocker(["run", "--nobanner", "-v", &volume, "one", "echo"])
        .env("PATH", program.parent().unwrap())
        .env("UDOCKER_DEFAULT_EXECUTION_MODE", "S1")
        .run()
        .exits_with(125);
    ran.errs_in_one_line(&["Apptainer cannot bind paths with a colon or a comma"]);
    assert!(!directory.join("ROOT/mount").exists());
}
