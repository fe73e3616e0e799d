//! `tag`.

use crate::support::archives::{DockerArchive, file_in_image, layer, store_state, with_image};
use crate::support::image::ImageBuilder;
use crate::support::sandbox::Sandbox;

/// A sandbox with the image `lab/tool:1`.
fn with_tool() -> Sandbox {
    let image = ImageBuilder::new().layer(layer("base", "from below"));
    with_image(&image, "lab/tool:1")
}

#[test]
fn tag_gives_an_image_a_second_independent_name() {
    let sandbox = with_tool();
    sandbox
        .udocker(["tag", "lab/tool:1", "quay.io/lab/tool:new"])
        .run()
        .succeeds()
        .prints("");
    sandbox.udocker(["rmi", "lab/tool:1"]).run().succeeds();
    assert_eq!(
        file_in_image(&sandbox, "quay.io/lab/tool:new", "etc/base"),
        "from below"
    );
    sandbox
        .udocker(["verify", "quay.io/lab/tool:new"])
        .run()
        .succeeds();
    sandbox
        .udocker(["rmi", "quay.io/lab/tool:new"])
        .run()
        .succeeds();
    sandbox.assert_no_images();
}

/// Nextflow looks for the name as its pipeline has it at the beginning of a line, and pulls where
/// it finds none.
#[test]
fn images_are_listed_as_named_and_found_by_equivalent_names() {
    let sandbox = with_tool();
    let is_listed = |name: &str| {
        let images = sandbox.udocker(["images"]).run().succeeds().stdout;
        images
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
    };
    let archive = DockerArchive::new("docker.io/nfcore/x:1", &[layer("base", "of x")]);
    let load = sandbox.udocker(["load"]).stdin(archive.finish());
    load.run().succeeds().prints("docker.io/nfcore/x:1");
    assert!(is_listed("docker.io/nfcore/x:1"));
    for name in ["nfcore/x:1", "index.docker.io/nfcore/x:1"] {
        let run = ["run", "--pull=never", "--rm", name, "/missing"];
        let ran = sandbox.udocker(run).run();
        assert!(!ran.stderr.contains("no image"), "{ran:#?}");
        assert_eq!(file_in_image(&sandbox, name, "etc/base"), "of x");
    }

    let tag = ["tag", "lab/tool:1", "docker.io/lab/tool:1"];
    sandbox.udocker(tag).run().succeeds();
    let protect = ["protect", "lab/tool:1"];
    sandbox.udocker(protect).run().succeeds();
    let rmi = ["rmi", "docker.io/lab/tool:1"];
    sandbox.udocker(rmi).run().succeeds();
    assert!(is_listed("lab/tool:1") && !is_listed("docker.io/lab/tool:1"));

    // Only its own name removes or changes an image.
    let unprotect = ["unprotect", "docker.io/lab/tool:1"];
    sandbox.udocker(unprotect).run().exits_with(1);
    let unprotect = ["unprotect", "lab/tool:1"];
    sandbox.udocker(unprotect).run().succeeds();
    let missing = sandbox.udocker(rmi).run().exits_with(1);
    let hint = "Hint: the image is called 'lab/tool:1' here";
    assert!(missing.stderr.contains(hint), "{missing:#?}");
    assert!(is_listed("lab/tool:1"));
}

/// Nextflow's pipelines name official images with `library/`, which udocker.py keeps.
#[test]
fn an_official_image_is_kept_under_the_name_that_was_typed() {
    let sandbox = with_tool();
    for (name, content) in [("tool:1", "short"), ("library/tool:1", "long")] {
        let archive = DockerArchive::new(name, &[layer("base", content)]);
        let load = sandbox.udocker(["load"]).stdin(archive.finish());
        load.run().succeeds().prints(name);
    }
    let tag = ["tag", "lab/tool:1", "library/other:1"];
    sandbox.udocker(tag).run().succeeds();
    for (name, content) in [
        ("tool:1", "short"),
        ("library/tool:1", "long"),
        ("library/other:1", "from below"),
        ("other:1", "from below"),
    ] {
        assert_eq!(file_in_image(&sandbox, name, "etc/base"), content, "{name}");
    }
    let images = sandbox.udocker(["images"]).run().succeeds();
    images.prints(
        "REPOSITORY\nlab/tool:1    .\nlibrary/other:1    .\nlibrary/tool:1    .\ntool:1    .",
    );
}

#[test]
fn refused_tag_leaves_no_trace() {
    let sandbox = with_tool();
    sandbox
        .udocker(["tag", "lab/tool:1", "lab/taken:1"])
        .run()
        .succeeds();
    sandbox
        .udocker(["tag", "lab/tool:1", "lab/guarded:1"])
        .run()
        .succeeds();
    sandbox
        .udocker(["protect", "lab/guarded:1"])
        .run()
        .succeeds();
    let before = store_state(&sandbox);
    let digest = format!("lab/x@sha256:{}", "0".repeat(64));
    for (source, target, part) in [
        (
            "lab/missing",
            "lab/new",
            "there is no image 'lab/missing' here",
        ),
        (
            "lab/tool:1",
            "lab/taken:1",
            "there is an image 'lab/taken:1' already",
        ),
        ("lab/guarded:1", "lab/new", "'lab/guarded:1' is protected"),
        ("lab/tool:1", "../x", "image reference '../x'"),
        ("lab/tool:1", "/x", "invalid repository name"),
        ("lab/tool:1", "a\nb", "control character"),
        ("lab/tool:1", &"a/".repeat(200), "invalid repository name"),
        (
            "lab/tool:1",
            &format!("x:{}", "t".repeat(200)),
            "invalid tag",
        ),
        ("lab/tool:1", &digest, "holds a digest"),
        ("lab/taken:1", "lab/tool/1:PROTECT", "beside the others"),
    ] {
        sandbox
            .udocker(["tag", source, target])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
    sandbox.udocker(["tag", "lab/tool:1"]).run().exits_with(2);
}
