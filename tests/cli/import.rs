//! `import`: a root file system as an image or a container.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::archives::{file_in_container, file_in_image, layer, store_state};
use crate::support::image::Packing;
use crate::support::sandbox::Sandbox;

fn tree() -> Vec<u8> {
    layer("file", "imported")
}

#[test]
fn import_makes_an_image_of_a_file_or_stdin_compressed_or_not() {
    for packing in Packing::ALL {
        let bytes = packing.pack(&tree());
        let sandbox = Sandbox::new();
        sandbox.write("tree.tar", &bytes);
        sandbox
            .udocker(["import", "tree.tar", "lab/file:1"])
            .run()
            .succeeds()
            .prints("lab/file:1");
        sandbox
            .udocker(["import", "-", "lab/stdin"])
            .stdin(bytes)
            .run()
            .succeeds()
            .prints("lab/stdin:latest");
        assert!(sandbox.path("tree.tar").exists());
        for image in ["lab/file:1", "lab/stdin:latest"] {
            assert_eq!(
                file_in_image(&sandbox, image, "etc/file"),
                "imported",
                "{packing:?}"
            );
            sandbox.udocker(["verify", image]).run().succeeds();
        }
    }
}

#[test]
fn import_with_mv_moves_the_archive_into_the_store() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("tree.tar", tree());
    let inode = fs::metadata(&file).unwrap().ino();
    sandbox
        .udocker(["import", "--mv", "tree.tar", "lab/x"])
        .run()
        .succeeds();
    assert!(!file.exists());
    let layers = fs::read_dir(sandbox.store().join("layers"))
        .unwrap()
        .flatten();
    assert!(
        layers
            .map(|entry| entry.metadata().unwrap().ino())
            .any(|found| found == inode)
    );
    assert_eq!(file_in_image(&sandbox, "lab/x", "etc/file"), "imported");

    // `--mv` removes a symbolic link, not its target.
    let file = sandbox.write("other.tar", layer("file", "behind a link"));
    std::os::unix::fs::symlink("other.tar", sandbox.path("link.tar")).unwrap();
    sandbox
        .udocker(["import", "--mv", "link.tar", "lab/y"])
        .run()
        .succeeds();
    assert!(file.exists() && !sandbox.path("link.tar").is_symlink());
    assert_eq!(
        file_in_image(&sandbox, "lab/y", "etc/file"),
        "behind a link"
    );
}

#[test]
fn failed_import_with_mv_keeps_the_archive() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["import", "-", "lab/x"])
        .stdin(tree())
        .run()
        .succeeds();
    let other = sandbox.write("other.tar", layer("file", "changed"));
    let text = sandbox.write("text", "no archive at all\n".repeat(100));
    for file in ["other.tar", "text"] {
        sandbox
            .udocker(["import", "--mv", file, "lab/x"])
            .run()
            .exits_with(1);
    }
    assert!(other.exists() && text.exists());
}

#[test]
fn import_records_the_platform() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["import", "--platform=linux/arm64/v8", "-", "lab/x"])
        .stdin(tree())
        .run()
        .succeeds();
    let images = sandbox.udocker(["images", "-p"]).run().succeeds();
    assert!(images.stdout.contains("linux/arm64"), "{images:#?}");
    sandbox
        .udocker(["import", "--platform=a/b/c/d", "-", "lab/y"])
        .stdin(tree())
        .run()
        .exits_with(2);
}

#[test]
fn import_warns_of_a_name_without_a_container() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .udocker(["import", "--name=x", "-", "lab/x"])
        .stdin(tree())
        .run()
        .succeeds()
        .prints("lab/x:latest");
    assert!(ran.stderr.contains("Warning: `--name` is for"), "{ran:#?}");
}

#[test]
fn import_tocontainer_makes_no_image() {
    let sandbox = Sandbox::new();
    let made = sandbox
        .udocker(["import", "--tocontainer", "--name=work", "-"])
        .stdin(tree())
        .run()
        .succeeds();
    assert_eq!(made.text().len(), 36, "{made:#?}");
    assert_eq!(file_in_container(&sandbox, "work", "etc/file"), "imported");
    let ps = sandbox.udocker(["ps"]).run().succeeds();
    assert!(
        ps.stdout.contains("['work']") && ps.stdout.contains("IMPORTED:unknown"),
        "{ps:#?}"
    );
    sandbox
        .udocker(["import", "--tocontainer", "-", "lab/named:1"])
        .stdin(Packing::Gzip.pack(&tree()))
        .run()
        .succeeds();
    let ps = sandbox.udocker(["ps"]).run().succeeds();
    assert!(ps.stdout.contains("lab/named:1"), "{ps:#?}");
    sandbox.assert_no_images();
}

#[test]
fn failed_import_leaves_no_trace() {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["import", "--tocontainer", "--name=work", "-"])
        .stdin(tree())
        .run()
        .succeeds();
    sandbox
        .udocker(["import", "-", "lab/x"])
        .stdin(tree())
        .run()
        .succeeds();
    let text = "no archive at all\n".repeat(100).into_bytes();
    let cut = tree()[..1028].to_vec();
    let cut_packed = |packing: Packing| packing.pack(&tree())[..100].to_vec();
    let before = store_state(&sandbox);
    for (args, input, code, part) in [
        (&["-", "lab/new"][..], text.clone(), 1, "no tar archive"),
        (&["-", "lab/new"], Vec::new(), 1, "holds no files"),
        (&["-", "lab/new"], vec![0; 10240], 1, "holds no files"),
        (&["-", "lab/new"], cut.clone(), 1, "ends in the middle"),
        (
            &["-", "lab/new"],
            cut_packed(Packing::Gzip),
            1,
            "cannot read it",
        ),
        (
            &["-", "lab/new"],
            cut_packed(Packing::Bzip2),
            1,
            "cannot read it",
        ),
        (
            &["-", "lab/new"],
            cut_packed(Packing::Xz),
            1,
            "cannot read it",
        ),
        (&["--tocontainer", "-"], text.clone(), 1, "no tar archive"),
        (&["--tocontainer", "-"], Vec::new(), 1, "holds no files"),
        (&["--tocontainer", "-"], cut, 1, "ends in the middle"),
        (
            &["--tocontainer", "--name=work", "-"],
            tree(),
            1,
            "container name already exists: 'work'",
        ),
        (
            &["--tocontainer", "--name=a/b", "-"],
            tree(),
            1,
            "names may not have",
        ),
        (&["--clone", "-"], tree(), 1, "no container exported"),
        (&["--clone", "-"], text, 1, "no tar archive"),
        (
            &["-", "lab/x"],
            layer("file", "changed"),
            1,
            "an image 'lab/x:latest' already",
        ),
        (&["-", "../x"], tree(), 1, "image reference '../x'"),
        (&["-", "/etc/x"], tree(), 1, "invalid repository name"),
        (&["-", "a\u{1b}[2J"], tree(), 1, "control character"),
        (&["-", &"a".repeat(300)], tree(), 1, "longer than"),
        (&["-"], tree(), 2, "a name for the image is missing"),
        (
            &["missing.tar", "lab/new"],
            Vec::new(),
            1,
            "cannot open 'missing.tar'",
        ),
    ] {
        let args = ["import"].iter().chain(args);
        sandbox
            .udocker(args)
            .stdin(input)
            .run()
            .exits_with(code)
            .errs_in_one_line(&[part]);
        assert_eq!(store_state(&sandbox), before, "{part}");
    }
}
