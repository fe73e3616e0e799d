//! Archives and repositories that one program writes and the other reads.

use std::fs;

use crate::support::archives::{
    file_in_container, file_in_image, layer, root_of, tool, two_layers, with_image,
};
use crate::support::entry_kinds::with_every_kind;
use crate::support::image::ImageBuilder;
use crate::support::sandbox::Sandbox;
use crate::support::tree;
use crate::support::udocker_py::UdockerPy;

#[test]
fn udocker_py_uses_loaded_imported_and_tagged_images() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_image(&two_layers(), "lab/a:v1");
    sandbox
        .udocker(["tag", "lab/a:v1", "lab/tagged:1"])
        .run()
        .succeeds();
    sandbox
        .udocker(["import", "-", "lab/imported:1"])
        .stdin(layer("base", "from below"))
        .run()
        .succeeds();
    let images = python.run(&sandbox, &["images"]).succeeds();
    for image in ["lab/a:v1", "lab/tagged:1", "lab/imported:1"] {
        assert!(images.stdout.contains(image), "{images:#?}");
        python.run(&sandbox, &["verify", image]).succeeds();
        python.run(&sandbox, &["inspect", image]).succeeds();
        let id = python.run(&sandbox, &["create", image]).succeeds();
        assert_eq!(
            file_in_container(&sandbox, id.text(), "etc/base"),
            "from below"
        );
    }
    python.run(&sandbox, &["rmi", "lab/a:v1"]).succeeds();
    assert_eq!(
        file_in_image(&sandbox, "lab/tagged:1", "etc/top"),
        "from above"
    );
}

#[test]
fn udocker_py_loads_saved_images() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_image(&two_layers(), "lab/a:v1");
    sandbox
        .udocker(["save", "-o", "saved.tar", "lab/a:v1"])
        .run()
        .succeeds();
    let other = Sandbox::new();
    let file = sandbox.path("saved.tar");
    python
        .run(&other, &["load", "-i", file.to_str().unwrap()])
        .succeeds();
    // udocker.py stores the image in its v1 format; both programs read that.
    let id = python.run(&other, &["create", "lab/a:v1"]).succeeds();
    for container in [
        id.text(),
        other
            .udocker(["create", "lab/a:v1"])
            .run()
            .succeeds()
            .text(),
    ] {
        assert_eq!(
            file_in_container(&other, container, "etc/base"),
            "from below"
        );
        assert_eq!(
            file_in_container(&other, container, "etc/top"),
            "from above"
        );
    }
    // `load` reads the archives of both programs.
    other
        .udocker(["save", "-o", "ours.tar", "lab/a:v1"])
        .run()
        .succeeds();
    python
        .run(&other, &["save", "-o", "theirs.tar", "lab/a:v1"])
        .succeeds();
    for archive in ["ours.tar", "theirs.tar"] {
        let third = Sandbox::new();
        let file = other.path(archive);
        third
            .udocker(["load", "-i", file.to_str().unwrap()])
            .run()
            .succeeds()
            .prints("lab/a:v1");
        assert_eq!(
            file_in_image(&third, "lab/a:v1", "etc/top"),
            "from above",
            "{archive}"
        );
    }
}

#[test]
fn images_imported_by_udocker_py_are_usable() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = Sandbox::new();
    let tree = zstd::encode_all(&layer("base", "from below")[..], 1).unwrap();
    sandbox.write("tree.tar", tree);
    python
        .run(&sandbox, &["import", "tree.tar", "lab/py:1"])
        .succeeds();
    assert_eq!(
        file_in_image(&sandbox, "lab/py:1", "etc/base"),
        "from below"
    );
    sandbox
        .udocker(["tag", "lab/py:1", "lab/tagged:1"])
        .run()
        .succeeds();
    // udocker.py records the digest of the compressed file as diff_id.
    python
        .run(&sandbox, &["save", "-o", "theirs.tar", "lab/py:1"])
        .succeeds();
    sandbox
        .udocker(["save", "-o", "ours.tar", "lab/tagged:1"])
        .run()
        .succeeds();
    for (archive, image) in [("theirs.tar", "lab/py:1"), ("ours.tar", "lab/tagged:1")] {
        let other = Sandbox::new();
        let file = sandbox.path(archive);
        other
            .udocker(["load", "-i", file.to_str().unwrap()])
            .run()
            .succeeds()
            .prints(image);
        assert_eq!(file_in_image(&other, image, "etc/base"), "from below");
        other.udocker(["verify", image]).run().succeeds();
    }
    python.run(&sandbox, &["rmi", "lab/py:1"]).succeeds();
    assert_eq!(
        file_in_image(&sandbox, "lab/tagged:1", "etc/base"),
        "from below"
    );
}

/// udocker.py writes each layer once, and lists it for the first of the images only.
#[test]
fn images_saved_together_by_udocker_py_are_loaded() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_image(&two_layers(), "lab/a:v1");
    ImageBuilder::new()
        .layer(layer("base", "from below"))
        .layer(layer("other", "of its own"))
        .layer(layer("base", "from below"))
        .write_layout(&sandbox.path("other"), "v1");
    let load = ["load", "-i", "other", "lab/b"];
    sandbox.udocker(load).run().succeeds();
    let tag = ["tag", "lab/a:v1", "lab/same:1"];
    sandbox.udocker(tag).run().succeeds();
    let names = ["lab/a:v1", "lab/b:v1", "lab/same:1"];
    let save = ["save", "-o", "theirs.tar", names[0], names[1], names[2]];
    python.run(&sandbox, &save).succeeds();
    let other = Sandbox::new();
    let file = sandbox.path("theirs.tar");
    other
        .udocker(["load", "-i", file.to_str().unwrap()])
        .run()
        .succeeds()
        .prints(&names.join("\n"));
    for (image, path, content) in [
        ("lab/a:v1", "etc/top", "from above"),
        ("lab/b:v1", "etc/base", "from below"),
        ("lab/b:v1", "etc/other", "of its own"),
        ("lab/same:1", "etc/top", "from above"),
    ] {
        other.udocker(["verify", image]).run().succeeds();
        assert_eq!(file_in_image(&other, image, path), content, "{image}");
    }
}

#[test]
fn names_given_by_udocker_py_are_found_as_listed_and_as_typed() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_image(&two_layers(), "lab/a:v1");
    let names = [
        "docker.io/lab/a:v1",
        "library/x:1",
        "reg.example.com:5000/x:1",
        "x:-a",
        "x:.a",
        &format!("x:{}", "t".repeat(200)),
    ];
    for name in names {
        let tag = ["tag", "lab/a:v1", name];
        python.run(&sandbox, &tag).succeeds();
    }
    let listing = || {
        let images = sandbox.udocker(["images"]).run().succeeds().stdout;
        let name = |line: &str| line.split_whitespace().next().unwrap().to_string();
        images.lines().skip(1).map(name).collect::<Vec<_>>()
    };
    let listed = listing();
    assert_eq!(listed.len(), names.len() + 1);
    for name in names
        .iter()
        .copied()
        .chain(listed.iter().map(String::as_str))
    {
        assert_eq!(file_in_image(&sandbox, name, "etc/top"), "from above");
    }
    for name in names {
        sandbox.udocker(["rmi", name]).run().succeeds();
    }
    assert_eq!(listing(), ["lab/a:v1"]);
    assert_eq!(file_in_image(&sandbox, "lab/a:v1", "etc/top"), "from above");
}

#[test]
fn exported_and_cloned_containers_are_interchangeable() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_every_kind();
    // udocker.py uses tar, which keeps FIFOs and old times, so all entries are compared.
    let read = |container: &str| {
        let mut tree = tree::read_in_seconds(&root_of(&sandbox, container));
        // udocker.py loses extended attributes, set-id bits, bits of the umask, and hard links of
        // what is not a regular file; the root directory has a new time.
        tree.remove(".");
        for node in tree.values_mut() {
            node.mode &= 0o755;
            node.xattrs.clear();
            if !matches!(node.kind, tree::Kind::File { .. }) {
                node.linked_with.clear();
            }
        }
        tree
    };
    let expected = read("kinds");
    let assert_kinds = |container: &str| {
        tree::assert_same(container, &read(container), &expected);
    };
    sandbox
        .udocker(["export", "--clone", "-o", "ours.tar", "kinds"])
        .run()
        .succeeds();
    python
        .run(
            &sandbox,
            &["import", "--clone", "--name=py-of-ours", "ours.tar"],
        )
        .succeeds();
    assert_kinds("py-of-ours");
    python
        .run(
            &sandbox,
            &["export", "--clone", "-o", "theirs.tar", "kinds"],
        )
        .succeeds();
    sandbox
        .udocker(["import", "--clone", "--name=ours-of-py", "theirs.tar"])
        .run()
        .succeeds();
    assert_kinds("ours-of-py");
    python
        .run(&sandbox, &["clone", "--name=py-clone", "kinds"])
        .succeeds();
    sandbox
        .udocker(["clone", "--name=clone-of-py", "py-clone"])
        .run()
        .succeeds();
    assert_kinds("clone-of-py");
    python
        .run(&sandbox, &["rename", "clone-of-py", "renamed"])
        .succeeds();
    sandbox
        .udocker(["rename", "renamed", "again"])
        .run()
        .succeeds();
    let ps = python.run(&sandbox, &["ps"]).succeeds();
    assert!(ps.stdout.contains("['again']"), "{ps:#?}");
    assert!(
        fs::read_dir(sandbox.store().join("containers"))
            .unwrap()
            .count()
            >= 9
    );
}

/// Scripts take single files out of archives by their names.
#[test]
fn exported_member_names_equal_those_of_udocker_py() {
    let Some(python) = UdockerPy::find() else {
        return;
    };
    let sandbox = with_image(&two_layers(), "lab/a:v1");
    sandbox
        .udocker(["create", "--name=one", "lab/a:v1"])
        .run()
        .succeeds();
    let names = |archive: &str| {
        let file = sandbox.path(archive);
        let listing = tool("tar", &["-tf", file.to_str().unwrap()]);
        let mut names: Vec<String> = listing.lines().map(str::to_string).collect();
        names.sort();
        names
    };
    for form in [&[][..], &["--clone"]] {
        let arguments = |archive| {
            let target = ["-o", archive, "one"];
            ["export"]
                .iter()
                .chain(form)
                .chain(&target)
                .copied()
                .collect::<Vec<&str>>()
        };
        sandbox.udocker(arguments("ours.tar")).run().succeeds();
        python.run(&sandbox, &arguments("theirs.tar")).succeeds();
        assert_eq!(names("ours.tar"), names("theirs.tar"), "{form:?}");
    }
}
