//! Repositories on unusual file systems and in restricted environments.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use udocker::host::facts::host_name;

use crate::support::archives::{layer, root_of, two_layers, with_image};
use crate::support::sandbox::{Ran, Sandbox};

const IMAGE: &str = "lab/a:1";

/// Runs the program after the mounts in `prepare`. `None` where the system allows none.
fn confined(sandbox: &Sandbox, prepare: &str, args: &[&str]) -> Option<Ran> {
    let run = sandbox.udocker(args).env("UDOCKER_ALLOW_ROOT", "1");
    run.run_confined(prepare)
}

/// Makes what a killed process leaves in a staging directory, and returns a directory in it to
/// mount something on.
fn leftover(staging: &Path) -> PathBuf {
    let left = staging.join("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0");
    let point = left.join("ROOT/point");
    fs::create_dir_all(&point).unwrap();
    fs::write(left.with_extension("lock"), host_name()).unwrap();
    point
}

#[test]
fn leftovers_that_cannot_be_removed_fail_gc_only() {
    let sandbox = with_image(&two_layers(), IMAGE);
    sandbox
        .udocker(["create", "--name=c", IMAGE])
        .run()
        .succeeds();
    sandbox
        .udocker(["export", "-o", "tree.tar", "c"])
        .run()
        .succeeds();
    let staging = [".containers.staging", "layers/.staging"];
    let points = staging.map(|folder| leftover(&sandbox.store().join(folder)));
    let mounts = points.each_ref().map(|point| {
        let point = point.display();
        format!("mount -t tmpfs none {point} && touch {point}/file")
    });
    let mounts = mounts.join(" && ");
    for args in [
        &["clone", "--name=d", "c"][..],
        &["rm", "c"],
        &["create", "--name=e", IMAGE],
        &["import", "tree.tar", "lab/b:1"],
        &["import", "--tocontainer", "tree.tar"],
        &["rmi", "lab/b:1"],
    ] {
        let Some(ran) = confined(&sandbox, &mounts, args) else {
            return;
        };
        assert_eq!(ran.succeeds().stderr.matches("Error").count(), 0);
    }
    let orphan = sandbox.store().join("layers/sha256:orphan");
    fs::write(&orphan, "x").unwrap();
    let gc = confined(&sandbox, &mounts, &["gc", "--all"]).unwrap();
    let gc = gc.exits_with(1);
    assert_eq!(
        gc.stderr.matches("Error: cannot remove").count(),
        2,
        "{gc:#?}"
    );
    assert!(gc.stdout.starts_with("removed: 0 containers, "), "{gc:#?}");
    assert!(!orphan.exists());
    // Without the mounts, the leftovers can be removed.
    sandbox.udocker(["gc", "--all"]).run().succeeds();
    assert!(points.iter().all(|point| !point.exists()));
}

#[test]
fn gc_removes_no_layer_where_it_cannot_see_the_images_that_need_it() {
    let sandbox = with_image(&two_layers(), IMAGE);
    let gc = |variable: &str, value: &Path| {
        let gc = sandbox.udocker(["gc"]).env(variable, value);
        gc.env("UDOCKER_LAYERS", sandbox.store().join("layers"))
            .run()
    };
    let missing = sandbox.path("missing");
    let failed = gc("UDOCKER_REPOS", &missing).exits_with(1);
    assert!(
        failed.stderr.starts_with("Error: cannot list"),
        "{failed:#?}"
    );
    let other = sandbox.path("other");
    let make = ["mkrepo", other.to_str().unwrap()];
    sandbox.udocker(make).run().succeeds();
    let done = gc("UDOCKER_DIR", &other).succeeds();
    assert!(
        done.stderr.contains("may serve other repositories"),
        "{done:#?}"
    );
    sandbox.udocker(["verify", IMAGE]).run().succeeds();
}

/// overlayfs cannot rename directories of the lower layer. A repository is in the lower layer when
/// it comes with the image of the container in which the program runs.
#[test]
fn directories_in_an_overlay_lower_layer_are_removed_in_place() {
    let sandbox = with_image(&two_layers(), IMAGE);
    let create = ["create", "--name=c", IMAGE];
    let create = sandbox.udocker(create).env("UDOCKER_IMAGE_TREES", "always");
    create.run().succeeds();
    let [tree] = &sandbox.image_trees()[..] else {
        panic!("one tree");
    };
    let of_other_boot = tree
        .to_str()
        .unwrap()
        .split_once('@')
        .unwrap()
        .0
        .to_string()
        + "@0b9c";
    fs::rename(tree, of_other_boot).unwrap();
    let directory = root_of(&sandbox, "c").parent().unwrap().to_path_buf();
    for name in ["upper", "work"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    let (store, upper, work) = (sandbox.store(), sandbox.path("upper"), sandbox.path("work"));
    let mount = format!(
        "mount -t overlay -o userxattr,lowerdir={0},upperdir={1},workdir={2} overlay {0}",
        store.display(),
        upper.display(),
        work.display()
    );
    for args in [
        &["create", "--name=d", IMAGE][..],
        &["gc"],
        &["rm", "d"],
        &["rm", "c"],
    ] {
        let Some(ran) = confined(&sandbox, &mount, args) else {
            return;
        };
        assert_eq!(ran.succeeds().stderr.matches("Error").count(), 0);
    }
    let listed = confined(&sandbox, &mount, &["ps"]).unwrap().succeeds();
    assert_eq!(listed.text().lines().count(), 1, "{listed:#?}");
    let gone = format!("{mount} && ! test -e {}", directory.display());
    confined(&sandbox, &gone, &["version"]).unwrap().succeeds();
    assert!(directory.exists());
}

#[test]
fn create_import_and_save_work_with_an_empty_dev() {
    let sandbox = with_image(&two_layers(), IMAGE);
    sandbox.write("tree.tar", layer("file", "content"));
    for args in [
        &["create", IMAGE][..],
        &["import", "tree.tar", "lab/b:1"],
        &["save", "-o", "saved.tar", IMAGE],
    ] {
        let Some(ran) = confined(&sandbox, "mount -t tmpfs none /dev", args) else {
            return;
        };
        ran.succeeds();
    }
}

/// A user who may write to a shared repository must not be able to block the others.
#[test]
fn fifo_or_device_in_place_of_a_file_is_an_error_not_a_hang() {
    let sandbox = with_image(&two_layers(), IMAGE);
    let create = |name: &str| {
        let create = ["create", &format!("--name={name}"), IMAGE];
        let id = sandbox.udocker(create).run().succeeds();
        sandbox.store().join("containers").join(id.text())
    };
    let replace = |path: PathBuf| {
        let _ = fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    };
    let piped = create("piped");
    replace(piped.join("container.json"));
    replace(piped.join("imagerepo.name"));
    symlink("/dev/zero", create("device").join("attributes")).unwrap();
    create("whole");
    let ps = sandbox.udocker(["ps"]).run().succeeds();
    assert_eq!(ps.text().lines().count(), 4, "{ps:#?}");
    for (args, code, file) in [
        (&["inspect", "piped"][..], 1, "container.json"),
        (&["run", "piped"], 125, "container.json"),
        (&["clone", "device"], 1, "attributes"),
        (&["export", "-o", "x.tar", "device"], 1, "attributes"),
    ] {
        let ran = sandbox.udocker(args).run().exits_with(code);
        ran.errs_in_one_line(&[file, "it is no regular file"]);
    }
}

#[test]
fn relative_repository_path_works_with_parts_elsewhere() {
    let sandbox = Sandbox::new();
    let layout = two_layers().write_layout(&sandbox.path("layout"), "latest");
    let udocker = |args: &[&str]| {
        let args = ["--repo=home/here"].iter().chain(args);
        let run = sandbox.udocker(args);
        run.env("UDOCKER_REPOS", sandbox.path("elsewhere/repos"))
    };
    udocker(&["load", "-i", layout.to_str().unwrap(), IMAGE])
        .run()
        .succeeds();
    udocker(&["create", IMAGE]).run().succeeds();
}

#[test]
fn lock_files_have_the_group_permissions_of_the_umask() {
    let sandbox = Sandbox::new();
    sandbox.write("tree.tar", layer("file", "content"));
    let with_umask = ["/bin/sh", "-c", "umask 002; exec \"$@\"", "sh"];
    let import = sandbox.udocker(["import", "tree.tar", "lab/b:1"]);
    import.through(&with_umask).run().succeeds();
    let lock = sandbox.store().join("layers/.lock");
    let mode = fs::metadata(lock).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o664);
}

#[test]
fn a_container_with_a_mount_in_it_is_not_removed() {
    let sandbox = with_image(&two_layers(), IMAGE);
    sandbox
        .udocker(["create", "--name=c", IMAGE])
        .run()
        .succeeds();
    let data = sandbox.path("data");
    let place = root_of(&sandbox, "c").join("mnt");
    for directory in [&data, &place] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(data.join("file"), "precious").unwrap();
    let mount = format!("mount --bind {} {}", data.display(), place.display());
    let Some(ran) = confined(&sandbox, &mount, &["rm", "c"]) else {
        return;
    };
    let told = format!(
        "cannot remove '{}': something is mounted there",
        place.display()
    );
    ran.exits_with(1).errs_in_one_line(&[&told]);
    assert_eq!(fs::read(data.join("file")).unwrap(), b"precious");
    assert!(root_of(&sandbox, "c").join("etc/base").exists());
    sandbox.udocker(["rm", "c"]).run().succeeds();
}
