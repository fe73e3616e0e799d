//! Archives that are inconsistent, incomplete or hostile are refused with one line and leave no
//! trace.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::archives::{DockerArchive, layer, root_of, store_state, two_layers};
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::sandbox::Sandbox;

fn archive() -> DockerArchive {
    DockerArchive::new(
        "lab/tool:1",
        &[layer("base", "from below"), layer("top", "from above")],
    )
}

/// The archive with its manifest changed.
fn with_manifest(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut archive = archive();
    change(&mut archive.manifest[0]);
    archive.finish()
}

/// The archive with its configuration changed and named by its new digest.
fn with_config(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut archive = archive();
    change(&mut archive.config);
    archive.config_name = DockerArchive::name_of(&archive.config);
    archive.manifest[0]["Config"] = json!(archive.config_name);
    archive.finish()
}

fn with_layer(bytes: Vec<u8>) -> Vec<u8> {
    DockerArchive::new("lab/tool:1", &[bytes]).finish()
}

#[test]
fn load_ignores_names_that_lead_out_or_steer() {
    for name in ["x/../../y:1", "a/b:../../x", "a\u{1b}[2J:1"] {
        let sandbox = Sandbox::new();
        let archive = with_manifest(|m| m["RepoTags"] = json!([name]));
        let ran = sandbox.udocker(["load"]).stdin(archive).run().succeeds();
        let note = format!("its name '{}' cannot be given", name.escape_debug());
        assert!(ran.stderr.contains(&note), "{ran:#?}");
        let repositories: Vec<_> = std::fs::read_dir(sandbox.store().join("repos"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(repositories, ["loaded"], "{name:?}");
    }
}

#[test]
fn load_refuses_inconsistent_docker_archives() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["load"])
        .stdin(DockerArchive::new("lab/there:1", &[layer("a", "b")]).finish())
        .run()
        .succeeds();
    let before = store_state(&sandbox);
    let escaping = LayerBuilder::new().file("../../outside", "x").finish();
    let zeros = "0".repeat(64);
    let mut second_is_bad = archive();
    let first = second_is_bad.manifest[0].clone();
    second_is_bad.manifest = json!([first, {"Config": first["Config"], "RepoTags": ["lab/b:1"], "Layers": ["gone/layer.tar"]}]);
    let mut twice = archive();
    twice.manifest = json!([first, first]);
    let other_tar = |entry| archive().members().entry(entry).finish();
    for (name, bytes, part) in [
        (
            "a layer is missing",
            with_manifest(|m| m["Layers"][1] = json!("l9/layer.tar")),
            "lacks 'l9/layer.tar'",
        ),
        (
            "no configuration",
            with_manifest(|m| m["Config"] = json!("gone.json")),
            "lacks 'gone.json'",
        ),
        (
            "the list leads out",
            with_manifest(|m| m["Layers"][0] = json!("../../../etc/passwd")),
            "leads out of the archive",
        ),
        (
            "layers swapped",
            with_manifest(|m| m["Layers"] = json!(["l1/layer.tar", "l0/layer.tar"])),
            "is damaged: it unpacks to",
        ),
        (
            "a layer too few",
            with_manifest(|m| m["Layers"] = json!(["l0/layer.tar"])),
            "lists 2 layers, and there are 1",
        ),
        (
            "the list is no list",
            with_manifest(|m| *m = json!("x")),
            "'manifest.json' is not valid",
        ),
        (
            "a wrong digest",
            with_config(|c| c["rootfs"]["diff_ids"][0] = json!(format!("sha256:{zeros}"))),
            "its configuration says sha256:0000",
        ),
        (
            "no configuration inside",
            with_config(|c| *c = json!([1])),
            "is not valid",
        ),
        (
            "the configuration was changed",
            {
                let mut a = archive();
                a.config["os"] = json!("plan9");
                a.finish()
            },
            "is damaged: the content has the digest",
        ),
        (
            "a layer is no tar",
            with_layer(b"no tar archive at all".repeat(100)),
            "no tar archive",
        ),
        (
            "a layer is cut",
            with_layer(layer("a", "b")[..1024].to_vec()),
            "ends in the middle",
        ),
        (
            "a layer leads out",
            with_layer(escaping),
            "is refused: its name holds '..'",
        ),
        (
            "the second image is bad",
            second_is_bad.finish(),
            "lacks 'gone/layer.tar'",
        ),
        (
            "one name twice",
            twice.finish(),
            "two of its images are called 'lab/tool:1'",
        ),
        (
            "a member leads out",
            other_tar(TarEntry::new(b'0', "../outside").content("x")),
            "leads out of the archive",
        ),
        (
            "a member is absolute",
            other_tar(TarEntry::new(b'0', "/tmp/outside").content("x")),
            "leads out of the archive",
        ),
        (
            "a layer is a link to the host",
            other_tar(TarEntry::new(b'2', "l0/layer.tar").link("/etc/passwd")),
            "leads nowhere in the archive",
        ),
        (
            "a layer is a link out",
            other_tar(TarEntry::new(b'2', "l0/layer.tar").link("../../../../etc/passwd")),
            "leads nowhere in the archive",
        ),
        (
            "a layer is a link to itself",
            other_tar(TarEntry::new(b'2', "l0/layer.tar").link("layer.tar")),
            "leads nowhere in the archive",
        ),
        (
            "no images",
            with_layer(Vec::new())[..1024].to_vec(),
            "holds no images",
        ),
        ("nothing", Vec::new(), "holds no images"),
        (
            "images without end",
            {
                let mut many = archive();
                many.manifest = json!(vec![first.clone(); 1025]);
                many.finish()
            },
            "it has more than 1024 images",
        ),
        (
            "layers without end",
            with_manifest(|m| m["Layers"] = json!(vec!["l0/layer.tar"; 65_537])),
            "it has more than 65536 layers",
        ),
        (
            "tags without end",
            with_manifest(|m| m["RepoTags"] = json!(vec!["lab/a:1"; 4097])),
            "it has more than 4096 names",
        ),
        (
            "a name that is none",
            with_manifest(|m| m["RepoTags"][0] = json!(7)),
            "'manifest.json' is not valid",
        ),
        (
            "names without end",
            (0..20)
                .fold(archive().members(), |tar, number| {
                    tar.file("n".repeat(1_000_000 + number), "")
                })
                .finish(),
            "it has more than 16777216 bytes of names",
        ),
        (
            "a layer that has no room",
            other_tar(TarEntry::new(b'0', "l0/layer.tar").declared_size(1 << 60)),
            "No space left on device: at least 1152921504607 MB are needed",
        ),
        ("text", b"hello\n".repeat(200), "no tar archive"),
        (
            "cut",
            archive().finish()[..3000].to_vec(),
            "ends in the middle of 'l0/layer.tar'",
        ),
    ] {
        sandbox
            .udocker(["load"])
            .stdin(bytes)
            .run()
            .exits_with(1)
            .errs_in_one_line(&["cannot load 'standard input': ", part]);
        assert_eq!(store_state(&sandbox), before, "{name}");
    }
    assert!(!sandbox.path("outside").exists());
}

#[test]
fn load_refuses_inconsistent_legacy_archives() {
    let sandbox = Sandbox::new();
    // A chain of 1000 layers, each of which has a tag.
    let mut chain = LayerBuilder::new();
    for number in 0..1000 {
        let parent = (number > 0).then(|| format!("{}", number - 1));
        chain = chain
            .file(
                format!("{number}/json"),
                json!({"parent": parent}).to_string(),
            )
            .hard_link(format!("{number}/layer.tar"), "layer.tar");
    }
    let tops: std::collections::BTreeMap<String, String> = (0..1000)
        .map(|n| (format!("t{n}"), format!("{n}")))
        .collect();
    let chain = chain
        .file("layer.tar", layer("a", "b"))
        .file("repositories", json!({"lab/old": tops}).to_string());
    let repositories = r#"{"lab/old":{"1":"aa"}}"#;
    for (tar, part) in [
        (
            LayerBuilder::new().file("repositories", repositories),
            "lacks 'aa/layer.tar'",
        ),
        (
            LayerBuilder::new()
                .file("repositories", repositories)
                .file("aa/json", r#"{"parent":"aa"}"#)
                .file("aa/layer.tar", layer("a", "b")),
            "form a circle at 'aa'",
        ),
        (
            LayerBuilder::new().file("repositories", r#"{"lab/old":{"1":"../../x"}}"#),
            "leads out of the archive",
        ),
        (chain, "it has more than 65536 layers"),
    ] {
        sandbox
            .udocker(["load"])
            .stdin(tar.finish())
            .run()
            .exits_with(1)
            .errs_in_one_line(&[part]);
        sandbox.assert_no_images();
    }
}

#[test]
fn load_refuses_inconsistent_oci_layouts() {
    for (name, part) in [
        ("a changed layer", "is damaged: the content has the digest"),
        ("a missing layer", "lacks 'blobs/sha256/"),
        ("a layer that is a link", "leads nowhere in the archive"),
        ("no index", "holds no images"),
    ] {
        let sandbox = Sandbox::new();
        let layout = two_layers().write_layout(&sandbox.path("layout"), "v1");
        let blobs = std::fs::read_dir(layout.join("blobs/sha256"))
            .unwrap()
            .flatten();
        let layer = blobs
            .map(|blob| blob.path())
            .find(|path| std::fs::read(path).unwrap().starts_with(b"\x1f\x8b"))
            .unwrap();
        match name {
            "a changed layer" => std::fs::write(&layer, "x").unwrap(),
            "no index" => std::fs::remove_file(layout.join("index.json")).unwrap(),
            _ => std::fs::remove_file(&layer).unwrap(),
        }
        if name == "a layer that is a link" {
            std::os::unix::fs::symlink("/etc/passwd", &layer).unwrap();
        }
        sandbox
            .udocker(["load", "-i", "layout"])
            .run()
            .exits_with(1)
            .errs_in_one_line(&["cannot load 'layout': ", part]);
        sandbox.assert_no_images();
        let layers = std::fs::read_dir(sandbox.store().join("layers"))
            .unwrap()
            .flatten();
        let visible = layers.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(visible.count(), 0, "{name}");
    }
}

#[test]
fn import_clone_refuses_inconsistent_archives() {
    let good = || {
        LayerBuilder::new()
            .file("container.json", "{}")
            .file("imagerepo.name", "x:1")
            .file("ROOT/etc/file", "x")
    };
    let sandbox = Sandbox::new();
    // The archive does not decide on the mode of the container's directory: programs inside may be
    // set-user-ID.
    let open = LayerBuilder::new().entry(TarEntry::new(b'5', "./").mode(0o777));
    let open = open.raw(good().finish()).finish();
    sandbox
        .udocker(["import", "--clone", "--name=good", "-"])
        .stdin(open)
        .run()
        .succeeds();
    let container = root_of(&sandbox, "good");
    let container = container.parent().unwrap().metadata().unwrap();
    assert_eq!(container.permissions().mode() & 0o777, 0o700);
    // Nor does it bring records of emulated ownership, whose inode numbers do not apply here, or
    // records of mount points and generated files.
    let notes = ["attributes", "mountpoints", "mountpoint", "id-ranges", "x"];
    let (mut files, mut directories, mut links) = (good(), good(), good());
    for note in notes {
        files = files.file(note, "7 5.1 1 2 100600 100600 0\n");
        directories = directories.file(format!("{note}/file"), "x");
        links = links.symlink(note, "/etc/passwd");
    }
    for (name, tar) in [("file", files), ("directory", directories), ("link", links)] {
        sandbox
            .udocker(["import", "--clone", &format!("--name={name}"), "-"])
            .stdin(tar.finish())
            .run()
            .succeeds();
        let container = root_of(&sandbox, name);
        let names = std::fs::read_dir(container.parent().unwrap()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ROOT", "container.json", "imagerepo.name"]);
    }
    let before = store_state(&sandbox);
    for (tar, part) in [
        (
            LayerBuilder::new().file("ROOT/x", "x"),
            "it lacks 'container.json'",
        ),
        (
            LayerBuilder::new().file("container.json", "{}"),
            "'ROOT' is empty",
        ),
        (
            good().file("container.json", "{"),
            "'container.json' is not valid",
        ),
        (
            good().symlink("container.json", "/etc/passwd"),
            "'container.json' is of a wrong kind",
        ),
        (
            good().symlink("imagerepo.name", "/etc/passwd"),
            "'imagerepo.name' is of a wrong kind",
        ),
        (good().symlink("ROOT", "/etc"), "'ROOT' is of a wrong kind"),
        // `unprotect` could not remove a directory.
        (
            good().file("PROTECT/file", "x"),
            "'PROTECT' is of a wrong kind",
        ),
        (good().file("../x", "x"), "is refused: its name holds '..'"),
    ] {
        sandbox
            .udocker(["import", "--clone", "-"])
            .stdin(tar.finish())
            .run()
            .exits_with(1)
            .errs_in_one_line(&["cannot import 'standard input': ", part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
}
