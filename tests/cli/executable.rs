//! Machines on which it cannot work: a full disk, a repository without write permission, root.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::prepared::{BUSYBOX, storage, with_container};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::requirement::cannot;
use crate::support::sandbox::Sandbox;

#[test]
fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let small = sandbox.path("small");
    fs::create_dir(&small).expect("a writable sandbox");
    let script = format!(
        "mount -t tmpfs -o size=400k tmpfs '{0}' && {{ \"$0\" \"$@\"; s=$?; find '{0}' -type f -size +8k; exit $s; }}",
        small.display()
    );
    let repo = format!("--repo={}/repo", small.display());
    let image = registry.reference(BUSYBOX);
    let ran = sandbox
        .udocker(["--allow-root", &repo, "pull", &image])
        .confined(&["sh", "-c", &script])
        .run();
    if ran.stderr.contains("unshare") || ran.stderr.contains("mount:") {
        return cannot(&format!("no user namespaces here: {}", ran.stderr));
    }
    ran.exits_with(1)
        .errs_in_one_line(&["MB are needed", "MB are free"]);
}

#[test]
fn a_repository_that_cannot_be_written_is_named() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let Some((sandbox, present)) = with_container() else {
        return;
    };
    if rustix::process::geteuid().is_root() {
        return cannot("root can write everywhere");
    }
    let set_modes = |mode: u32| {
        for directory in ["", "repos", "layers", "containers"] {
            let path = sandbox.store().join(directory);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own directory");
        }
    };
    set_modes(0o555);
    let image = registry.reference(BUSYBOX);
    let cases: [&[&str]; 2] = [&["pull", &image], &["create", &present]];
    for args in cases {
        let ran = sandbox.udocker(args).run().exits_with(1);
        ran.errs_in_one_line(&[".udocker"]);
    }
    // Commands that need not write work.
    sandbox.udocker(["ps"]).run().succeeds();
    sandbox.udocker(["images"]).run().succeeds();
    sandbox
        .udocker(["run", "--nobanner", "box", "echo", "works"])
        .run()
        .succeeds()
        .prints("works");
    set_modes(0o755);
}

#[test]
fn root_is_refused_unless_it_insists() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| {
        sandbox
            .udocker(args)
            .without_env("UDOCKER_ALLOW_ROOT")
            .confined(&[])
            .run()
    };
    let refused = run(&["images"]);
    if refused.stderr.contains("unshare") {
        return cannot(&format!("no user namespaces here: {}", refused.stderr));
    }
    refused
        .exits_with(1)
        .errs_in_one_line(&["root", "Hint: ", "--allow-root"]);
    run(&["--allow-root", "images"]).succeeds();
    run(&["--version"]).succeeds();
    run(&["help"]).succeeds();
}
