//! `save`: archives that other programs read.

use std::fs;

use crate::support::archives::{
    file_in_image, layer, legacy_archive, tool, two_layers, with_image,
};
use crate::support::image::{ImageBuilder, Packing};
use crate::support::requirement::{has_tools, has_user_namespaces};
use crate::support::sandbox::Sandbox;

#[test]
fn saved_images_are_loaded_again() {
    let image = ImageBuilder::new()
        .packed_layer(layer("base", "from below"), Packing::Zstd)
        .packed_layer(layer("top", "from above"), Packing::Gzip)
        .packed_layer(layer("base", "from below"), Packing::Zstd);
    let sandbox = with_image(&image, "lab/a:1");
    sandbox
        .udocker(["tag", "lab/a:1", "lab/b:2"])
        .run()
        .succeeds();
    let ran = sandbox
        .udocker(["save", "-o", "saved.tar", "lab/a:1", "lab/b:2"])
        .run()
        .succeeds()
        .prints("");
    assert_eq!(ran.stderr, "");
    let other = Sandbox::new();
    other
        .udocker(["load", "-i", sandbox.path("saved.tar").to_str().unwrap()])
        .run()
        .succeeds()
        .prints("lab/a:1\nlab/b:2");
    other.udocker(["verify", "lab/b:2"]).run().succeeds();
    assert_eq!(file_in_image(&other, "lab/b:2", "etc/top"), "from above");
    let config = |sandbox: &Sandbox| {
        sandbox
            .udocker(["inspect", "lab/a:1"])
            .run()
            .succeeds()
            .stdout
    };
    assert_eq!(config(&sandbox), config(&other));
}

#[test]
fn skopeo_reads_saved_images() {
    if !has_tools(&["skopeo", "umoci"]) {
        return;
    }
    // Two images, and the same layer twice in one of them.
    let image = two_layers().layer(layer("base", "from below"));
    let sandbox = with_image(&image, "lab/a:1");
    let second = ImageBuilder::new().layer(layer("base", "from below"));
    second.write_layout(&sandbox.path("second"), "v1");
    sandbox
        .udocker(["load", "-i", "second", "lab/b:2"])
        .run()
        .succeeds();
    sandbox
        .udocker(["save", "--output=saved.tar", "lab/a:1", "lab/b:2"])
        .run()
        .succeeds();
    let saved = sandbox.path("saved.tar");
    for (name, file) in [("lab/a:1", "top"), ("lab/b:2", "base")] {
        let layout = sandbox.path(&format!("out-{file}"));
        let source = format!("docker-archive:{}:{name}", saved.display());
        let image = format!("{}:v1", layout.display());
        tool(
            "skopeo",
            &["copy", "--quiet", &source, &format!("oci:{image}")],
        );
        let bundle = sandbox.path(&format!("bundle-{file}"));
        let bundle_text = bundle.display().to_string();
        tool(
            "umoci",
            &["unpack", "--rootless", "--image", &image, &bundle_text],
        );
        assert!(bundle.join("rootfs/etc").join(file).is_file());
    }
}

/// Podman stores the image below the sandbox, with the storage driver that needs no privileges.
#[test]
fn podman_loads_saved_images() {
    if !has_tools(&["podman"]) || !has_user_namespaces() {
        return;
    }
    let sandbox = with_image(&two_layers(), "lab/a:1");
    sandbox
        .udocker(["save", "-o", "saved.tar", "lab/a:1"])
        .run()
        .succeeds();
    let podman = |command: &str| {
        let line = format!(
            "podman --root=\"$PWD/pods\" --runroot=\"$PWD/run\" --storage-driver=vfs {command}"
        );
        let ran = sandbox
            .udocker([""; 0])
            .through(&["sh", "-ec", &line])
            .run();
        ran.succeeds().stdout
    };
    podman("load -i saved.tar");
    let inspected = podman("image inspect --format '{{len .RootFS.Layers}}' localhost/lab/a:1");
    assert_eq!(inspected, "2\n");
    // `load` reads what podman saves.
    podman("save -o podman.tar localhost/lab/a:1");
    let other = Sandbox::new();
    other
        .udocker(["load", "-i", sandbox.path("podman.tar").to_str().unwrap()])
        .run()
        .succeeds();
    assert_eq!(
        file_in_image(&other, "localhost/lab/a:1", "etc/top"),
        "from above"
    );
}

#[test]
fn save_recomputes_the_digests_of_legacy_images() {
    if !has_tools(&["skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["load"])
        .stdin(legacy_archive())
        .run()
        .succeeds();
    sandbox
        .udocker(["save", "-o", "old.tar", "lab/old:2"])
        .run()
        .succeeds();
    let source = format!(
        "docker-archive:{}:lab/old:2",
        sandbox.path("old.tar").display()
    );
    let target = format!("oci:{}:v1", sandbox.path("out").display());
    tool("skopeo", &["copy", "--quiet", &source, &target]);
}

#[test]
fn save_writes_only_the_archive_to_stdout() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    sandbox
        .udocker(["save", "-o", "file.tar", "lab/a:1"])
        .run()
        .succeeds();
    let file = fs::read(sandbox.path("file.tar")).unwrap();
    for args in [
        &["save", "lab/a:1"][..],
        &["save", "-", "lab/a:1"],
        &["save", "-o", "-", "lab/a:1"],
    ] {
        sandbox
            .udocker(args)
            .through(&["/bin/sh", "-c", "exec \"$@\" > out.tar", "sh"])
            .run()
            .succeeds();
        assert_eq!(fs::read(sandbox.path("out.tar")).unwrap(), file);
    }
    for redirected in ["> out.tar", ">> out.tar", "| cat > out.tar"] {
        fs::remove_file(sandbox.path("out.tar")).unwrap();
        sandbox
            .udocker(["save", "-o", "/dev/stdout", "lab/a:1"])
            .through(&["/bin/sh", "-c", &format!("\"$@\" {redirected}"), "sh"])
            .run()
            .succeeds();
        assert_eq!(fs::read(sandbox.path("out.tar")).unwrap(), file);
    }
}

#[test]
fn save_overwrites_nothing_and_leaves_no_partial_file() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    sandbox.write("there", "before");
    sandbox
        .udocker(["save", "-o", "there", "lab/a:1"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["there is a file 'there' already"]);
    assert_eq!(fs::read_to_string(sandbox.path("there")).unwrap(), "before");

    let before = fs::read_dir(sandbox.path("")).unwrap().count();
    sandbox
        .udocker(["save", "-o", "new.tar", "lab/a:1", "lab/missing"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["there is no image 'lab/missing' here"]);
    // `save` notices a missing blob only while it writes the archive.
    let blobs = fs::read_dir(sandbox.store().join("layers"))
        .unwrap()
        .flatten();
    for blob in blobs.filter(|blob| blob.path().is_file()) {
        fs::remove_file(blob.path()).unwrap();
    }
    sandbox
        .udocker(["save", "-o", "new.tar", "lab/a:1"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["damaged"]);
    assert_eq!(fs::read_dir(sandbox.path("")).unwrap().count(), before);
}
