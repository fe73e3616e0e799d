//! Full and read-only file systems.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use flate2::write::GzEncoder;

use crate::kills::assert_sound;
use crate::served::Served;
use crate::support::image::ImageBuilder;
use crate::support::layer_builder::LayerBuilder;
use crate::support::prepared::{BUSYBOX, storage, with_container};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::requirement::{has_user_namespaces, skip};
use crate::support::sandbox::{Ran, Sandbox};

/// Runs `script` in a mount namespace; it sets up mounts and runs the program as `"$@"`. Skips the
/// test, and returns `None`, where the system allows no such mounts.
fn with_mounts(sandbox: &Sandbox, script: &str, args: &[&str]) -> Option<Ran> {
    if !has_user_namespaces() {
        return None;
    }
    let run = sandbox.udocker(args).env("UDOCKER_ALLOW_ROOT", "1");
    Some(run.confined(&["sh", "-c", script, "sh"]).run())
}

#[test]
fn full_disk_during_pull_or_create_leaves_a_sound_repository() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    let mut failures = 0;
    for kilobytes in [16, 64, 400, 1500, 2500, 3600, 5000, 6000, 7000, 30_000] {
        let script = format!(
            r#"mkdir -p "$HOME/.udocker" && mount -t tmpfs -o size={kilobytes}k none "$HOME/.udocker" || exit 99
            "$@" pull {image} && "$@" create --name=c {image} && status=0 || status=1
            echo "status $status"
            exec 2>&1
            "$@" images | tail -n +2 | while read -r name _; do "$@" -q verify "$name" || echo broken; done
            "$@" ps | tail -n +2 | while read -r id _; do "$@" run --nobanner "$id" true || echo broken; done
            "$@" gc --all >"$HOME/gc" || cat "$HOME/gc"
            find "$HOME/.udocker" -path '*staging/*' -print"#
        );
        let Some(ran) = with_mounts(&sandbox, &script, &[]) else {
            return;
        };
        let mut lines = ran.stdout.lines().filter(|line| !line.contains('-'));
        if lines.next() == Some("status 1") {
            failures += 1;
            let says_why = |part| ran.stderr.contains(part);
            assert!(says_why("No space left on device"), "{ran:#?}");
            let how_much = ["are needed", "inodes"];
            assert!(how_much.into_iter().any(says_why), "{ran:#?}");
        }
        let rest: Vec<&str> = lines.collect();
        assert!(
            rest.iter()
                .all(|line| !line.contains("broken") && !line.contains("staging")),
            "{ran:#?}"
        );
    }
    assert!(
        (1..10).contains(&failures),
        "{failures} of ten disks were too small"
    );
}

/// Loads an image of these layers into a repository on a disk of `kilobytes`, and runs `script`.
/// The compressed layers take little of the disk.
fn on_small_disk(kilobytes: u32, layers: Vec<LayerBuilder>, script: &str) -> Option<Ran> {
    let sandbox = Sandbox::new();
    let layers = layers.into_iter().map(LayerBuilder::finish);
    let image = layers.fold(ImageBuilder::new(), ImageBuilder::layer);
    image.write_layout(&sandbox.path("layout"), "latest");
    let script = format!(
        r#"mkdir -p "$HOME/.udocker" && mount -t tmpfs -o size={kilobytes}k none "$HOME/.udocker" || exit 99
        export UDOCKER_IMAGE_TREES=always
        "$@" load -i layout lab/image && {script}"#
    );
    with_mounts(&sandbox, &script, &[])
}

/// A layer with a file of `megabytes` that compresses well.
fn file_of(name: &str, megabytes: usize) -> LayerBuilder {
    LayerBuilder::new().file(name, vec![b'x'; megabytes << 20])
}

/// Prefetched layers take room before the whiteouts of lower layers have freed it.
#[test]
fn create_falls_back_to_sequential_apply_when_prefetch_does_not_fit() {
    // The other layers are prefetched while these files are made.
    let many = (0..50_000).fold(LayerBuilder::new(), |layer, number| {
        layer.file(format!("small{number}"), "")
    });
    let layers = vec![
        many,
        file_of("large", 24),
        LayerBuilder::new().whiteout("large"),
        file_of("other", 24),
    ];
    let script = r#"UDOCKER_IMAGE_TREES=false "$@" create --name=c lab/image"#;
    if let Some(ran) = on_small_disk(36_000, layers, script) {
        ran.succeeds();
    }
}

/// The disk has room for a container and the image tree, but not for a second container.
#[test]
fn image_tree_is_kept_when_its_copy_does_not_fit() {
    let script = r#""$@" create lab/image || exit 98
        "$@" create lab/image && exit 97
        ls "$HOME/.udocker/.containers.trees" | wc -l"#;
    if let Some(ran) = on_small_disk(30_000, vec![file_of("large", 10)], script) {
        let last = ran.stdout.lines().last();
        assert_eq!(last, Some("1"), "{ran:#?}");
    }
}

/// Fills the sandbox with an image, a container `c` of it, and archives of both. Returns the
/// image's name.
pub fn with_image_and_archives(sandbox: &Sandbox) -> String {
    let served = Served::start();
    let image = served.image("1");
    for args in [
        &["pull", &image][..],
        &["create", "--name=c", &image],
        &["save", "-o", "saved.tar", &image],
        &["export", "-o", "tree.tar", "c"],
        &["export", "--clone", "-o", "clone.tar", "c"],
    ] {
        sandbox.udocker(args).run().succeeds();
    }
    image
}

#[test]
fn full_disk_errors_name_file_cause_and_size() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    // Layers of 1.2 MB and busybox; the small disk holds 1 MB, or three files.
    let size = "size=1m";
    let inodes = "size=100m,nr_inodes=8";
    let left = "No space left on device";
    let needed = "MB are needed";
    let cases: [(&str, &str, &[&str], &[&str]); 11] = [
        ("CONTAINERS", size, &["create", &image], &[left, needed]),
        (
            "CONTAINERS",
            inodes,
            &["create", &image],
            &["layer '", left, "inodes"],
        ),
        (
            "CONTAINERS",
            size,
            &["import", "--tocontainer", "tree.tar"],
            &["layer 'tree.tar'", left, needed],
        ),
        (
            "CONTAINERS",
            size,
            &["import", "--clone", "clone.tar"],
            &["layer 'clone.tar'", "'ROOT/", left, needed],
        ),
        (
            "LAYERS",
            size,
            &["import", "tree.tar", "lab/new:1"],
            &["'tree.tar'", left, needed],
        ),
        (
            "LAYERS",
            size,
            &["import", "-", "lab/new:1"],
            &["'standard input'", left],
        ),
        (
            "LAYERS",
            size,
            &["load", "-i", "saved.tar", "lab/new:1"],
            &["cannot write its '", "/small/", left, needed],
        ),
        (
            "LAYERS",
            inodes,
            &["load", "-i", "saved.tar", "lab/new:1"],
            &["/small/", left],
        ),
        (
            "",
            size,
            &["save", "-o", "small/out", &image],
            &["'small/out'", left],
        ),
        (
            "",
            size,
            &["export", "-o", "small/out", "c"],
            &["'small/out'", left],
        ),
        (
            "",
            size,
            &["export", "--clone", "-o", "small/out", "c"],
            &["'small/out'", left],
        ),
    ];
    for (place, options, args, parts) in cases {
        let variable = match place {
            "" => String::new(),
            // Images are on the same file system as their layers.
            "LAYERS" => "UDOCKER_REPOS=$PWD/small/r UDOCKER_LAYERS=$PWD/small/l".to_string(),
            place => format!("UDOCKER_{place}=$PWD/small"),
        };
        let script = format!(
            r#"mkdir -p small && mount -t tmpfs -o {options} none small || exit 99
            env {variable} "$@" <tree.tar
            status=$?
            if find small -path '*staging/*' -o -name out -o -name 'sha256*' | grep -q .; then exit 98; fi
            exit $status"#
        );
        let Some(ran) = with_mounts(&sandbox, &script, args) else {
            return;
        };
        ran.exits_with(1).errs_in_one_line(parts);
    }
    assert_sound(&sandbox);
}

#[test]
fn commands_refuse_at_once_what_cannot_fit() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    for name in ["tree", "clone"] {
        let archive = fs::read(sandbox.path(&format!("{name}.tar"))).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&archive).unwrap();
        sandbox.write(&format!("{name}.tgz"), encoder.finish().unwrap());
    }
    // As much as busybox alone takes when compressed.
    let containers = "size=600k";
    let cases: [(&str, &str, &[&str]); 5] = [
        ("UDOCKER_CONTAINERS=small", containers, &["create", &image]),
        (
            "UDOCKER_CONTAINERS=small",
            containers,
            &["run", &image, "true"],
        ),
        (
            "UDOCKER_CONTAINERS=small",
            containers,
            &["import", "--tocontainer", "tree.tgz"],
        ),
        (
            "UDOCKER_CONTAINERS=small",
            containers,
            &["import", "--clone", "clone.tgz"],
        ),
        (
            "UDOCKER_LAYERS=small",
            containers,
            &["import", "tree.tar", "lab/new:1"],
        ),
    ];
    for (variable, options, args) in cases {
        let script = format!(
            r#"mkdir -p small && mount -t tmpfs -o {options} none small || exit 99
            export {variable}
            exec "$@""#
        );
        let Some(ran) = with_mounts(&sandbox, &script, args) else {
            return;
        };
        assert_ne!(ran.code(), 0, "{ran:#?}");
        // The message must name the free space, which an error while writing does not.
        ran.errs_in_one_line(&["No space left on device", " are needed, ", " are free"]);
    }
    assert_sound(&sandbox);
}

#[test]
fn run_fetches_no_layer_when_the_rootfs_does_not_fit() {
    for (variable, options) in [
        ("UDOCKER_CONTAINERS", "size=600k"),
        // There is room for the layers, but not for the rootfs.
        ("UDOCKER_DIR", "size=2m"),
    ] {
        let served = Served::start();
        let sandbox = Sandbox::new();
        let image = served.image("1");
        let script = format!(
            r#"mkdir -p small && mount -t tmpfs -o {options} none small || exit 99
            {variable}=$PWD/small exec "$@""#
        );
        let Some(ran) = with_mounts(&sandbox, &script, &["run", &image, "true"]) else {
            return;
        };
        assert_ne!(ran.code(), 0, "{ran:#?}");
        ran.errs_in_one_line(&["/small", " MB are needed, ", " MB are free"]);
        // Only the configuration was fetched.
        assert_eq!(served.blob_requests(), 1, "{variable}");
    }
}

#[test]
fn pull_counts_a_partial_download_as_present() {
    let served = Served::start();
    let image = served.image("1");
    let whole = Sandbox::new();
    whole.udocker(["pull", &image]).run().succeeds();
    let layers = whole.store().join("layers");
    let sizes: Vec<u64> = fs::read_dir(&layers)
        .unwrap()
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .collect();
    let (all, largest) = (sizes.iter().sum::<u64>(), *sizes.iter().max().unwrap());
    let sandbox = Sandbox::new();
    let script = format!(
        r#"mkdir -p "$HOME/.udocker" && mount -t tmpfs -o size={} none "$HOME/.udocker" || exit 99
        mkdir -p "$HOME/.udocker/layers/.staging"
        layers="{}"
        for blob in "$layers"/*; do
            [ "$(stat -c %s "$blob")" = {largest} ] || continue
            part=$HOME/.udocker/layers/.staging/$(basename "$blob").$(uname -n)
            head -c {} "$blob" >"$part"
        done
        "$@" && diff -r --exclude='.*' "$layers" "$HOME/.udocker/layers""#,
        all + 200_000,
        layers.display(),
        largest / 2,
    );
    if let Some(ran) = with_mounts(&sandbox, &script, &["pull", &image]) {
        ran.succeeds();
    }
}

#[test]
fn clone_refuses_at_once_what_does_not_fit() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    // There is room for one container of 3.5 MB and 700 files, not for two.
    for (options, needed) in [
        ("size=6m", [" MB are needed, ", " MB are free"]),
        ("nr_inodes=1000", [" inodes are needed, ", " are free"]),
    ] {
        let script = format!(
            r#"mkdir -p small && mount -t tmpfs -o {options} none small || exit 99
            export UDOCKER_CONTAINERS=$PWD/small
            "$@" -q create --name=first {image} >created || exit 98
            "$@" clone first
            status=$?
            [ "$("$@" ps | wc -l)" = 2 ] || exit 97
            exit $status"#
        );
        let Some(ran) = with_mounts(&sandbox, &script, &[]) else {
            return;
        };
        ran.exits_with(1).errs_in_one_line(&[
            "cannot clone 'first'",
            "/small': No space left on device: at least ",
            needed[0],
            needed[1],
        ]);
    }
}

#[test]
fn containers_directory_may_be_a_mount_point() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    let script = format!(
        r#"containers=$HOME/.udocker/containers
        mount -t tmpfs none "$containers" || exit 99
        "$@" create --name=d {image} && "$@" run --nobanner d echo works && "$@" rm d
        "$@" ps"#
    );
    let Some(ran) = with_mounts(&sandbox, &script, &[]) else {
        return;
    };
    let ran = ran.succeeds();
    let lines: Vec<&str> = ran.text().lines().skip(1).collect();
    assert_eq!(lines[0], "works", "{ran:#?}");
    assert_eq!(lines.len(), 2, "{ran:#?}");
}

#[test]
fn containers_directory_may_have_a_read_only_parent() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    let parent = sandbox.path("scratch");
    let containers = parent.join("mine");
    fs::create_dir_all(&containers).unwrap();
    fs::set_permissions(&parent, Permissions::from_mode(0o555)).unwrap();
    let udocker = |args: &[&str]| {
        let run = sandbox.udocker(args);
        run.env("UDOCKER_CONTAINERS", &containers).run().succeeds()
    };
    udocker(&["create", "--name=d", &image]);
    udocker(&["run", "--nobanner", "d", "echo", "works"]).prints("works");
    udocker(&["rm", "d"]);
    assert_eq!(udocker(&["ps"]).text().lines().count(), 1);
}

#[test]
fn run_works_on_a_full_disk() {
    let sandbox = Sandbox::new();
    with_image_and_archives(&sandbox);
    let script = r#"mkdir -p small && mount -t tmpfs -o size=64k none small || exit 99
        mkdir small/tmp && cp -r "$HOME/.udocker/bin" small/bin 2>/dev/null
        cat /dev/zero >small/filler 2>/dev/null
        export TMPDIR=$PWD/small/tmp UDOCKER_TMP=$PWD/small/tmp
        exec "$@""#;
    let args = ["run", "--nobanner", "c", "echo", "works"];
    let Some(ran) = with_mounts(&sandbox, script, &args) else {
        return;
    };
    ran.succeeds().prints("works");
}

#[test]
fn writing_commands_report_a_read_only_repository() {
    let sandbox = Sandbox::new();
    let image = with_image_and_archives(&sandbox);
    sandbox.udocker(["name", "c", "second"]).run().succeeds();
    let before = sandbox.leftovers();
    let script = r#"store=$HOME/.udocker
        mount --bind "$store" "$store" && mount -o remount,bind,ro "$store" && exec "$@""#;
    let writing: [&[&str]; 18] = [
        &["pull", &image],
        &["create", &image],
        &["run", "--nobanner", "--rm", &image, "true"],
        &["clone", "c"],
        &["rename", "c", "other"],
        &["name", "c", "third"],
        &["rmname", "second"],
        &["rm", "c"],
        &["rmi", &image],
        &["tag", &image, "lab/other:1"],
        &["protect", "c"],
        &["protect", &image],
        &["load", "-i", "saved.tar", "lab/new:1"],
        &["import", "tree.tar", "lab/new:1"],
        &["import", "--tocontainer", "tree.tar"],
        &["import", "--clone", "clone.tar"],
        &["setup", "--execmode=P2", "c"],
        &["gc"],
    ];
    for args in writing {
        let Some(ran) = with_mounts(&sandbox, script, args) else {
            return;
        };
        assert_ne!(ran.code(), 0, "{ran:#?}");
        ran.errs_in_one_line(&["Read-only file system", "UDOCKER_DIR"]);
        assert_eq!(sandbox.leftovers(), before, "{args:?}");
    }
    assert_sound(&sandbox);
}

#[test]
fn reading_commands_and_run_work_in_a_read_only_repository() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let image = served.image("1");
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox
        .udocker(["create", "--name=c", &image])
        .run()
        .succeeds();
    let script = r#"mount --bind "$HOME" "$HOME" && mount -o remount,bind,ro "$HOME" && exec "$@""#;
    let commands: [&[&str]; 6] = [
        &["images"],
        &["ps"],
        &["inspect", "c"],
        &["inspect", &image],
        &["-q", "verify", &image],
        &["run", "--nobanner", "c", "true"],
    ];
    for args in commands {
        let Some(ran) = with_mounts(&sandbox, script, args) else {
            return;
        };
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran:#?}");
    }
}

#[test]
fn pull_and_create_name_a_repository_without_write_permission() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let Some((sandbox, present)) = with_container() else {
        return;
    };
    if rustix::process::geteuid().is_root() {
        return skip("root can write everywhere");
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
    // Commands that only read still work.
    sandbox.udocker(["ps"]).run().succeeds();
    sandbox.udocker(["images"]).run().succeeds();
    sandbox
        .udocker(["run", "--nobanner", "box", "echo", "works"])
        .run()
        .succeeds()
        .prints("works");
    set_modes(0o755);
}
