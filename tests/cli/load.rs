//! `load`: each archive format, with each compression.

use std::path::Path;

use serde_json::{Value, json};
use udocker::oci::Digest;

use crate::support::archives::{
    DockerArchive, file_in_image, layer, legacy_archive, tool, two_layers, with_image,
};
use crate::support::image::{ImageBuilder, Packing};
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

fn archive() -> DockerArchive {
    DockerArchive::new(
        "lab/tool:1",
        &[layer("base", "from below"), layer("top", "from above")],
    )
}

#[test]
fn load_accepts_any_compression_of_a_docker_archive() {
    for packing in Packing::ALL {
        let mut packed_inside = archive();
        packed_inside.layers = vec![
            packing.pack(&packed_inside.layers[0]),
            Packing::Zstd.pack(&packed_inside.layers[1]),
        ];
        load_both_layers(packing.pack(&archive().finish()));
        load_both_layers(packed_inside.finish());
    }
}

fn load_both_layers(archive: Vec<u8>) {
    let sandbox = Sandbox::new();
    let file = sandbox.write("image.tar", archive);
    sandbox
        .udocker(["load", "-i", file.to_str().unwrap()])
        .run()
        .succeeds()
        .prints("lab/tool:1");
    sandbox.udocker(["verify", "lab/tool:1"]).run().succeeds();
    assert_eq!(
        file_in_image(&sandbox, "lab/tool:1", "etc/base"),
        "from below"
    );
    assert_eq!(
        file_in_image(&sandbox, "lab/tool:1", "etc/top"),
        "from above"
    );
}

#[test]
fn load_skips_foreign_members_of_any_size() {
    let sandbox = Sandbox::new();
    let archive = DockerArchive::new("lab/tool:1", &[layer("file", "content")]);
    let large = |flag, name| TarEntry::new(flag, name).content(vec![b'x'; 3 << 20]);
    let front = LayerBuilder::new()
        .entry(large(b'g', "pax_global_header"))
        .entry(large(b'1', "link").link("nothing"))
        .entry(large(b'Z', "unknown"));
    let members = archive.members().finish();
    sandbox
        .udocker(["load"])
        .stdin(front.raw(members).finish())
        .run()
        .succeeds()
        .prints("lab/tool:1");
}

#[test]
fn load_reads_stdin_by_default_and_for_a_dash() {
    for args in [
        &["load"][..],
        &["load", "-"],
        &["load", "-i", "-"],
        &["load", "--input=-"],
    ] {
        let sandbox = Sandbox::new();
        sandbox
            .udocker(args)
            .stdin(archive().finish())
            .run()
            .succeeds()
            .prints("lab/tool:1");
    }
}

#[test]
fn load_renames_the_repository_or_the_whole_name() {
    for (name, expected) in [("other", "other:1"), ("quay.io/x/y:z", "quay.io/x/y:z")] {
        let sandbox = Sandbox::new();
        sandbox
            .udocker(["load", "-", name])
            .stdin(archive().finish())
            .run()
            .succeeds()
            .prints(expected);
        sandbox
            .udocker(["inspect", "lab/tool:1"])
            .run()
            .exits_with(1);
    }
}

#[test]
fn load_loads_all_images_of_an_archive() {
    let mut two = archive();
    let first = two.manifest[0].clone();
    two.manifest = json!([first, {
        "Config": first["Config"],
        "RepoTags": ["lab/second:1", "lab/second:2"],
        "Layers": first["Layers"],
    }]);
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["load"])
        .stdin(two.finish())
        .run()
        .succeeds()
        .prints("lab/tool:1\nlab/second:1\nlab/second:2");
    assert_eq!(
        file_in_image(&sandbox, "lab/second:2", "etc/top"),
        "from above"
    );
}

#[test]
fn load_accepts_the_legacy_form_with_symlinked_layers() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["load"])
        .stdin(legacy_archive())
        .run()
        .succeeds()
        .prints("lab/old:1\nlab/old:2");
    for (image, command) in [("lab/old:1", "old"), ("lab/old:2", "linked")] {
        assert_eq!(file_in_image(&sandbox, image, "etc/top"), "from above");
        let shown = sandbox.udocker(["inspect", image]).run().succeeds();
        assert!(shown.stdout.contains(command), "{shown:#?}");
    }
}

#[test]
fn load_keeps_the_digests_of_an_oci_layout() {
    let sandbox = Sandbox::new();
    let layout = two_layers().write_layout(&sandbox.path("layout"), "v1");
    let index = std::fs::read_to_string(layout.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = layout.join("blobs").join(digest.replace(':', "/"));

    sandbox
        .udocker(["load", "-i", "layout", "lab/layout"])
        .run()
        .succeeds()
        .prints("lab/layout:v1");
    tool(
        "tar",
        &[
            "-C",
            layout.to_str().unwrap(),
            "-cf",
            sandbox.path("o.tar").to_str().unwrap(),
            ".",
        ],
    );
    sandbox
        .udocker(["load", "-i", "o.tar", "lab/tar"])
        .run()
        .succeeds()
        .prints("lab/tar:v1");
    for name in ["layout", "tar"] {
        let stored = sandbox
            .store()
            .join("repos/lab")
            .join(name)
            .join("v1/manifest");
        assert_eq!(
            std::fs::read(stored).unwrap(),
            std::fs::read(&manifest).unwrap()
        );
        assert_eq!(
            file_in_image(&sandbox, &format!("lab/{name}:v1"), "etc/top"),
            "from above"
        );
    }
}

/// Replaces the diff_ids in the configuration of a layout by the digests of the compressed layers,
/// as `import` of udocker.py wrote them.
fn name_stored_layers(layout: &Path) {
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        layout.join("blobs").join(digest)
    };
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let replace = |descriptor: &mut Value, document: &Value| {
        let bytes = document.to_string();
        descriptor["digest"] = json!(Digest::of(bytes.as_bytes()));
        descriptor["size"] = json!(bytes.len());
        std::fs::write(blob(&descriptor["digest"]), bytes).unwrap();
    };
    let mut index = read(&layout.join("index.json"));
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut config = read(&blob(&manifest["config"]["digest"]));
    let layers = manifest["layers"].as_array().unwrap().iter();
    config["rootfs"]["diff_ids"] = layers.map(|layer| layer["digest"].clone()).collect();
    replace(&mut manifest["config"], &config);
    replace(&mut index["manifests"][0], &manifest);
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn load_corrects_diff_ids_that_are_layer_digests() {
    let sandbox = Sandbox::new();
    let layout = two_layers().write_layout(&sandbox.path("layout"), "v1");
    name_stored_layers(&layout);
    let load = ["load", "-i", "layout", "lab/layout"];
    sandbox.udocker(load).run().succeeds();
    let image = "lab/layout:v1";
    sandbox.udocker(["verify", image]).run().succeeds();
    assert_eq!(file_in_image(&sandbox, image, "etc/top"), "from above");
}

#[test]
fn load_does_not_copy_a_directory_without_images() {
    let sandbox = Sandbox::new();
    let file = std::fs::File::create(sandbox.write("home/data/file", "")).unwrap();
    // More than the disk has room for.
    file.set_len(1 << 43).unwrap();
    let ran = sandbox.udocker(["load", "-i", "home/data"]).run();
    ran.exits_with(1).errs_in_one_line(&["holds no images"]);
}

#[test]
fn load_names_an_unnamed_image_by_its_content() {
    let mut unnamed = archive();
    unnamed.manifest[0]["RepoTags"] = json!(null);
    let sandbox = Sandbox::new();
    let first = sandbox
        .udocker(["load"])
        .stdin(unnamed.finish())
        .run()
        .succeeds();
    assert!(first.text().starts_with("loaded/"), "{first:#?}");
    let again = sandbox
        .udocker(["load"])
        .stdin(unnamed.finish())
        .run()
        .succeeds();
    assert_eq!(first.stdout, again.stdout);
}

#[test]
fn load_ignores_names_that_no_image_can_have() {
    for (names, own, expected) in [
        (&["<none>:<none>"][..], &["<none>:<none>"][..], None),
        (&[""], &[""], None),
        (&["a b:1", "lab/tool:2"], &["a b:1"], Some("lab/tool:2")),
        // Only OCI layouts have tags without a repository.
        (&["foo"], &[], Some("foo:latest")),
    ] {
        let mut image = archive();
        image.manifest[0]["RepoTags"] = json!(names);
        let sandbox = Sandbox::new();
        let ran = sandbox
            .udocker(["load"])
            .stdin(image.finish())
            .run()
            .succeeds();
        match expected {
            Some(name) => assert_eq!(ran.text(), name),
            None => assert!(ran.text().starts_with("loaded/"), "{ran:#?}"),
        }
        for name in own {
            let note = format!("Info: its name '{name}' cannot be given to an image");
            assert!(ran.stderr.contains(&note), "{ran:#?}");
        }
    }
    let sandbox = Sandbox::new();
    let layout = two_layers().write_layout(&sandbox.path("layout"), "1.0+build");
    sandbox
        .udocker(["load", "-i", layout.to_str().unwrap(), "lab/own"])
        .run()
        .succeeds()
        .prints("lab/own:latest");
}

#[test]
fn load_accepts_the_same_image_again_and_refuses_another() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        sandbox
            .udocker(["load"])
            .stdin(archive().finish())
            .run()
            .succeeds()
            .prints("lab/tool:1");
    }
    let other = DockerArchive::new("lab/tool:1", &[layer("base", "changed")]);
    sandbox
        .udocker(["load"])
        .stdin(other.finish())
        .run()
        .exits_with(1)
        .errs_in_one_line(&["there is an image 'lab/tool:1' already"]);
    assert_eq!(
        file_in_image(&sandbox, "lab/tool:1", "etc/base"),
        "from below"
    );
}

#[test]
fn load_accepts_archives_of_skopeo() {
    if !has_tools(&["skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let layout = two_layers().write_layout(&sandbox.path("layout"), "v1");
    let source = format!("oci:{}:v1", layout.display());
    for (kind, file, name, stored) in [
        (
            "docker-archive",
            "d.tar",
            "lab/docker:1",
            "docker.io/lab/docker:1",
        ),
        ("oci-archive", "o.tar", "lab/oci:1", "lab/oci:1"),
    ] {
        let target = format!("{kind}:{}:{name}", sandbox.path(file).display());
        tool("skopeo", &["copy", "--quiet", &source, &target]);
        sandbox
            .udocker(["load", "-i", file])
            .run()
            .succeeds()
            .prints(stored);
        assert_eq!(file_in_image(&sandbox, name, "etc/top"), "from above");
    }
}

#[test]
fn quiet_load_prints_only_names() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .udocker(["-q", "load"])
        .stdin(archive().finish())
        .run()
        .succeeds()
        .prints("lab/tool:1");
    assert_eq!(ran.stderr, "");
}

#[test]
fn load_hints_at_import_for_a_root_file_system() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .udocker(["load"])
        .stdin(LayerBuilder::new().file("etc/passwd", "x").finish())
        .run()
        .exits_with(1);
    assert!(
        ran.stderr
            .contains("Hint: import a root file system with `udocker import`")
    );
}

#[test]
fn load_of_a_file_without_its_option_has_a_hint() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("image.tar", archive().finish());
    for name in ["image.tar", file.to_str().unwrap()] {
        let ran = sandbox.udocker(["load", name]).run().exits_with(1);
        let hint = format!("Hint: to load that file, use `udocker load -i {name}`\n");
        assert!(ran.stderr.ends_with(&hint), "{ran:#?}");
    }
}

#[test]
fn load_removes_leftovers_of_a_killed_load() {
    let sandbox = Sandbox::new();
    sandbox.write("image.tar", archive().finish());
    let staged = || -> Vec<std::path::PathBuf> {
        let listing = std::fs::read_dir(sandbox.store().join("layers/.staging"));
        let paths = listing.into_iter().flatten().flatten().map(|e| e.path());
        paths.filter(|path| path.join("0").is_file()).collect()
    };
    let loading = sandbox
        .udocker(["load"])
        .through(&[
            "/bin/bash",
            "-c",
            "exec \"$@\" < <(head -c 2000 image.tar; sleep 60)",
            "bash",
        ])
        .spawn();
    let start = std::time::Instant::now();
    while staged().is_empty() {
        assert!(
            start.elapsed() < std::time::Duration::from_secs(30),
            "nothing is staged"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Dropping it kills the process group, and awaits the program.
    drop(loading);
    assert_eq!(staged().len(), 1);
    sandbox.assert_no_images();
    sandbox
        .udocker(["load", "-i", "image.tar"])
        .run()
        .succeeds()
        .prints("lab/tool:1");
    assert!(staged().is_empty());
}

#[test]
fn images_and_containers_need_no_place_for_the_engine() {
    let sandbox = Sandbox::new();
    let image = ImageBuilder::busybox();
    let file = sandbox.path("image.tar");
    let packed = with_image(&image, "lab/tool:1");
    let save = ["save", "-o", file.to_str().unwrap(), "lab/tool:1"];
    packed.udocker(save).run().succeeds();
    // No directory can be made below a file.
    let place = |name: &str| format!("{}/{name}/", file.display());
    let udocker = |args: &[&str]| {
        ["BIN", "LIB", "DOC"]
            .into_iter()
            .fold(sandbox.udocker(args), |command, part| {
                command.env(&format!("UDOCKER_{part}"), place(part))
            })
            .run()
    };
    udocker(&["load", "-i", file.to_str().unwrap()]).succeeds();
    let run = |container, mode| {
        udocker(&["-q", "setup", mode, container]).succeeds();
        let ran = udocker(&["-q", "run", container, "echo", "hi"]);
        ran.succeeds().prints("hi");
    };
    udocker(&["-q", "run", "--name=box", "lab/tool:1", "true"]).succeeds();
    run("box", "--execmode=P1");
    run("box", "--execmode=P2");
    udocker(&["install"])
        .exits_with(1)
        .errs_in_one_line(&["cannot create directory '", "/BIN"]);
}
