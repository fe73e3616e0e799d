//! Bad input gets one clear line, a non-zero status, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::prepared::{BUSYBOX, storage};
use crate::registry::{Guard, Registry, Transport};
use crate::support::image::ImageBuilder;
use crate::support::requirement::{has_tools, skip};
use crate::support::sandbox::Sandbox;

/// A registry without images.
fn empty_registry(sandbox: &Sandbox) -> Option<Registry> {
    has_tools(&["docker-registry", "skopeo"])
        .then(|| Registry::start(&sandbox.path("registry"), Transport::Http, Guard::Open))
}

/// A sandbox with the busybox image pulled and a container `box` made from it.
fn with_container() -> Option<Sandbox> {
    let storage = storage()?;
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    let image = registry.reference(BUSYBOX);
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox
        .udocker(["create", "--name=box", &image])
        .run()
        .succeeds();
    Some(sandbox)
}

#[test]
fn malformed_references_are_refused() {
    let sandbox = Sandbox::new();
    let cases = [
        "",
        " ",
        "UPPER",
        "a//b",
        "-a",
        "a:",
        "a:b:c",
        "a@sha256:12",
        "a@md5:d41d8cd98f00b204e9800998ecf8427e",
        "../etc/passwd",
        "a/../b",
        "ftp://host/a",
        "a:t/g",
        "host:99999/a",
        "a b",
        "ä",
    ];
    for text in cases {
        let ran = sandbox.udocker(["pull", text]).run();
        assert!(matches!(ran.code(), 1 | 2), "{text:?}: {ran:#?}");
        ran.errs_in_one_line(&[&format!("'{text}'")]);
    }
    assert_eq!(sandbox.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn malformed_container_names_are_refused() {
    let Some(sandbox) = with_container() else {
        return;
    };
    let image = image_of(&sandbox);
    for name in [
        "",
        "a/b",
        ".",
        "..",
        "a.b",
        "a b",
        "a[b",
        "a]b",
        &"n".repeat(300),
    ] {
        let ran = sandbox
            .udocker(["create", &format!("--name={name}"), &image])
            .run();
        assert!(matches!(ran.code(), 1 | 2), "{name:?}: {ran:#?}");
        ran.errs_in_one_line(&[name]);
    }
    // A name that is taken, and one that looks like an id.
    let ran = sandbox
        .udocker(["create", "--name=box", &image])
        .run()
        .exits_with(1);
    ran.errs_in_one_line(&["'box'"]);
    let containers = fs::read_dir(sandbox.store().join("containers"))
        .expect("a store")
        .count();
    assert_eq!(containers, 2, "the first container and its name");
}

#[test]
fn an_unknown_tag_or_repository_is_named() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let sandbox = Sandbox::new();
    for name in ["lab/busybox:no-such-tag", "lab/no-such-repository:1"] {
        sandbox
            .udocker(["pull", &registry.reference(name)])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[name]);
    }
    assert_eq!(sandbox.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["pull", "http://127.0.0.1:1/lab/image:1"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["127.0.0.1:1"]);
    assert_eq!(sandbox.leftovers(), Vec::<PathBuf>::new());
}

#[test]
fn an_unknown_image_or_container_is_named() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 7] = [
        &["run", "--pull=never", "no/such:1", "true"],
        &["create", "no/such:1"],
        &["rm", "no-such"],
        &["rmi", "no/such:1"],
        &["inspect", "no/such:1"],
        &["verify", "no/such:1"],
        &["protect", "no/such:1"],
    ];
    for args in cases {
        let name = if args[1].starts_with('-') {
            args[2]
        } else {
            args[1]
        };
        let ran = sandbox.udocker(args).run();
        assert_ne!(ran.code(), 0, "{ran:#?}");
        ran.errs_in_one_line(&[&format!("'{name}'")]);
    }
}

/// A tar of one entry whose header says `size` bytes and that is followed by `content`.
fn tar_entry(name: &str, kind: tar::EntryType, target: &str, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    // Set byte by byte: the library refuses names that leave the tree.
    header.as_gnu_mut().expect("a GNU header").name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().expect("a GNU header").linkname[..target.len()]
        .copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn a_layer_that_escapes_or_is_damaged_makes_no_container() {
    let sandbox = Sandbox::new();
    let Some(registry) = empty_registry(&sandbox) else {
        return;
    };
    let regular = tar::EntryType::Regular;
    let truncated = tar_entry("file", regular, "", 100_000, b"far less than it says");
    let mut headless = tar_entry("file", regular, "", 4, b"text");
    headless[148..156].copy_from_slice(b"0000000\0");
    let link = tar_entry("up", tar::EntryType::Symlink, "../../../..", 0, b"");
    let through = tar_entry("up/escaped", regular, "", 1, b"x");
    let cases: [(&str, Vec<u8>); 5] = [
        ("dots", tar_entry("../../../escaped", regular, "", 1, b"x")),
        (
            "hardlink",
            tar_entry(
                "passwd",
                tar::EntryType::Link,
                "../../../../../../etc/passwd",
                0,
                b"",
            ),
        ),
        ("truncated", truncated),
        ("headless", headless),
        (
            "huge",
            tar_entry("file", regular, "", u64::from(u32::MAX), b"x"),
        ),
    ];
    for (name, mut tar) in cases {
        if name != "truncated" && name != "huge" {
            tar.extend([0; 1024]);
        }
        let image = push(
            &sandbox,
            &registry,
            name,
            ImageBuilder::busybox().layer(tar),
        );
        sandbox.udocker(["pull", &image]).run().succeeds();
        let ran = sandbox.udocker(["create", &image]).run().exits_with(1);
        ran.errs_in_one_line(&[]);
        assert_eq!(
            names_below(&sandbox.store().join("containers")),
            Vec::<String>::new(),
            "{name}"
        );
    }
    // A link that points outside is legal and common; what goes through it stays inside.
    let image = push(
        &sandbox,
        &registry,
        "through",
        ImageBuilder::busybox().layer([link, through, vec![0; 1024]].concat()),
    );
    sandbox.udocker(["pull", &image]).run().succeeds();
    let _ = sandbox.udocker(["create", &image]).run();
    let mut up = Some(sandbox.store().as_path().join("containers"));
    while let Some(directory) = up {
        assert!(
            !directory.join("escaped").exists(),
            "written to {}",
            directory.display()
        );
        up = directory.parent().map(Path::to_path_buf);
    }
}

#[test]
fn an_image_for_another_architecture_is_refused() {
    let sandbox = Sandbox::new();
    let Some(registry) = empty_registry(&sandbox) else {
        return;
    };
    let foreign = ImageBuilder::busybox().platform("linux", "s390x");
    let image = push(&sandbox, &registry, "foreign", foreign);
    // Pulling it on purpose is fine; it must not be started as if it were ours.
    sandbox
        .udocker(["pull", "--platform=linux/s390x", &image])
        .run()
        .succeeds();
    sandbox
        .udocker(["create", "--name=foreign", &image])
        .run()
        .succeeds();
    sandbox
        .udocker(["run", "foreign", "true"])
        .run()
        .exits_with(125)
        .errs_in_one_line(&["s390x"]);
}

#[test]
fn volumes_that_cannot_be_had_are_refused() {
    let Some(sandbox) = with_container() else {
        return;
    };
    sandbox.write("odd/a:b/file", "x");
    let odd = sandbox.path("odd/a:b").display().to_string();
    let cases = [
        "/no/such/file",
        "relative:/in",
        &odd,
        "/tmp:relative",
        "/tmp:/in:rx",
        "/tmp:/in!",
        "",
    ];
    for volume in cases {
        let ran = sandbox.udocker(["run", "-v", volume, "box", "true"]).run();
        assert!(matches!(ran.code(), 2 | 125), "{volume:?}: {ran:#?}");
        ran.errs_in_one_line(&[]);
    }
}

#[test]
fn a_damaged_container_json_is_named() {
    let Some(sandbox) = with_container() else {
        return;
    };
    let json = sandbox.store().join("containers/box/container.json");
    for damage in ["", "{", "[]", "\0\0\0", "{\"config\": 7}"] {
        fs::write(&json, damage).expect("a writable container");
        let ran = sandbox.udocker(["run", "box", "true"]).run();
        ran.exits_with(125).errs_in_one_line(&["container.json"]);
    }
    fs::remove_file(&json).expect("a writable container");
    sandbox
        .udocker(["run", "box", "true"])
        .run()
        .exits_with(125)
        .errs_in_one_line(&["container.json"]);
    // It can still be listed and removed.
    sandbox.udocker(["ps"]).run().succeeds();
    sandbox.udocker(["rm", "box"]).run().succeeds();
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
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
        .through(&[
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
        ])
        .run();
    if ran.stderr.contains("unshare") || ran.stderr.contains("mount:") {
        return skip(&format!("no user namespaces here: {}", ran.stderr));
    }
    ran.exits_with(1)
        .errs_in_one_line(&["No space left on device"]);
}

#[test]
fn a_repository_that_cannot_be_written_is_named() {
    let Some(storage) = storage() else { return };
    let registry = Registry::start(&storage.path, Transport::Http, Guard::Open);
    let Some(sandbox) = with_container() else {
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
    let cases: [&[&str]; 2] = [&["pull", &image], &["create", &image_of(&sandbox)]];
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
    let as_root = ["unshare", "--user", "--map-root-user"];
    let run = |args: &[&str]| {
        sandbox
            .udocker(args)
            .without_env("UDOCKER_ALLOW_ROOT")
            .through(&as_root)
            .run()
    };
    let refused = run(&["images"]);
    if refused.stderr.contains("unshare") {
        return skip(&format!("no user namespaces here: {}", refused.stderr));
    }
    refused
        .exits_with(1)
        .errs_in_one_line(&["root", "--allow-root"]);
    run(&["--allow-root", "images"]).succeeds();
    run(&["--version"]).succeeds();
    run(&["help"]).succeeds();
}

#[test]
fn wrong_usage_is_status_2() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 6] = [
        &["no-such-command"],
        &["--no-such-option"],
        &["pull"],
        &["run", "--no-such-option", "x"],
        &["run", "--user"],
        &["create", "a", "b"],
    ];
    for args in cases {
        let ran = sandbox.udocker(args).run();
        assert_eq!(
            (ran.code(), ran.stdout.as_str()),
            (2, ""),
            "{args:?}: {ran:#?}"
        );
    }
}

/// Writes an image, pushes it under `name` and returns its reference.
fn push(sandbox: &Sandbox, registry: &Registry, name: &str, image: ImageBuilder) -> String {
    let layout = image.write_layout(&sandbox.path(&format!("layout-{name}")), "latest");
    let repository = format!("lab/{name}:1");
    registry.push(&layout, "latest", &repository);
    registry.reference(&repository)
}

/// The name of the only image in the store.
fn image_of(sandbox: &Sandbox) -> String {
    let listed = sandbox.udocker(["images"]).run().succeeds();
    let row = listed.text().lines().nth(1).expect("one image");
    row.split_whitespace().next().expect("a name").to_string()
}

fn names_below(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
