//! Rules that a comparison with umoci cannot test: umoci refuses such layers, or does not follow
//! the specification.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::support::layer_builder::{Format, LayerBuilder, MTIME, TarEntry, seal};
use crate::support::requirement::skip;
use crate::support::sandbox::Sandbox;
use crate::support::tree::{self, Kind};
use crate::support::xattrs;
use crate::unpack::{apply_both_ways_and_compare, unpack};

#[test]
fn device_nodes_and_hard_links_to_them_are_skipped_and_counted() {
    let (unpacked, result) = apply_both_ways_and_compare(&[
        LayerBuilder::new()
            .directory("dev")
            .file("dev/was-a-file", "x")
            .entry(TarEntry::new(b'3', "dev/null"))
            .entry(TarEntry::new(b'4', "dev/sda"))
            .hard_link("dev/zero", "dev/null")
            .hard_link("dev/full", "dev/zero")
            .finish(),
        LayerBuilder::new()
            .entry(TarEntry::new(b'3', "dev/was-a-file"))
            .file("dev/sda", "a file now")
            .hard_link("linked", "dev/sda")
            .finish(),
    ]);
    let summary = result.unwrap();
    assert_eq!((summary.layers, summary.skipped_devices), (2, 5));
    let tree = tree::read(&unpacked.root);
    let names: Vec<_> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, [".", "./dev", "./dev/sda", "./linked"]);
}

#[test]
fn sparse_files_of_all_formats_keep_their_holes() {
    const SIZE: u64 = 10_000_000;
    let runs: [(u64, &[u8]); 3] = [(0, b"begin"), (4_096_000, b"middle"), (9_999_997, b"end")];
    let data: Vec<u8> = runs.iter().flat_map(|(_, run)| run.to_vec()).collect();
    let mut expected = vec![0; SIZE as usize];
    for (offset, run) in runs {
        expected[offset as usize..][..run.len()].copy_from_slice(run);
    }
    let numbers: Vec<u64> = runs
        .iter()
        .flat_map(|(offset, run)| [*offset, run.len() as u64])
        .collect();
    let list = |separator: &str| {
        numbers
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(separator)
    };

    let mut gnu = [0; 512];
    gnu[..3].copy_from_slice(b"gnu");
    gnu[100..107].copy_from_slice(b"0000644");
    gnu[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    gnu[136..147].copy_from_slice(b"00000000000");
    gnu[156] = b'S';
    gnu[257..265].copy_from_slice(b"ustar  \0");
    let pair = |index: usize| {
        format!(
            "{:011o}\0{:011o}\0",
            numbers[2 * index],
            numbers[2 * index + 1]
        )
        .into_bytes()
    };
    // Two runs in the header, the third in a block behind it.
    gnu[386..434].copy_from_slice(&[pair(0), pair(1)].concat());
    gnu[482] = 1;
    gnu[483..494].copy_from_slice(format!("{SIZE:011o}").as_bytes());
    seal(&mut gnu);
    let mut extension = [0; 512];
    extension[..24].copy_from_slice(&pair(2));

    let size = SIZE.to_string();
    let mut pax_0_0 = TarEntry::new(b'0', "pax00").pax("GNU.sparse.size", &size);
    for pair in numbers.chunks(2) {
        pax_0_0 = pax_0_0
            .pax("GNU.sparse.offset", pair[0].to_string())
            .pax("GNU.sparse.numbytes", pair[1].to_string());
    }
    let pax_0_1 = TarEntry::new(b'0', "GNUSparseFile.0/pax01")
        .pax("GNU.sparse.name", "pax01")
        .pax("GNU.sparse.size", &size)
        .pax("GNU.sparse.map", list(","));
    let mut map = format!("{}\n{}\n", runs.len(), list("\n")).into_bytes();
    map.resize(512, 0);
    let pax_1_0 = TarEntry::new(b'0', "GNUSparseFile.0/pax10")
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", "pax10")
        .pax("GNU.sparse.realsize", &size);

    let unpacked = unpack(&[LayerBuilder::new()
        .raw(gnu)
        .raw(extension)
        .data(&data)
        .entry(pax_0_0.content(&data))
        .entry(pax_0_1.content(&data))
        .entry(pax_1_0.content([map, data.clone()].concat()))
        .file("after", "still in step")
        .finish()]);
    for name in ["gnu", "pax00", "pax01", "pax10"] {
        let path = unpacked.root.join(name);
        assert!(fs::read(&path).unwrap() == expected, "{name}");
        let blocks = fs::metadata(&path).unwrap().blocks();
        assert!(blocks * 512 < SIZE / 10, "{name} takes {blocks} blocks");
    }
    assert_eq!(
        fs::read(unpacked.root.join("after")).unwrap(),
        b"still in step"
    );
}

#[test]
fn archives_of_gnu_tar_unpack_to_their_source_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    fs::create_dir_all(source.join("d".repeat(200)).join("e".repeat(200))).unwrap();
    fs::write(source.join("d".repeat(200)).join("file"), "content").unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 5_000_000).unwrap();
    sparse.set_len(20_000_000).unwrap();
    fs::hard_link(source.join("sparse"), source.join("second")).unwrap();
    std::os::unix::fs::symlink("s".repeat(500), source.join("link")).unwrap();
    for options in [
        &["--format=gnu", "--sparse"][..],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
        &["--format=oldgnu", "--sparse"],
    ] {
        let output = Command::new("tar")
            .args(options)
            .args(["-c", "-C"])
            .arg(&source)
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success(), "{options:?}");
        let unpacked = unpack(&[output.stdout]);
        let mut expected = tree::read(&source);
        if !options[0].contains("pax") {
            // The GNU formats keep whole seconds.
            expected.values_mut().for_each(|node| node.mtime.1 = 0);
        }
        tree::assert_same(
            &format!("{options:?}"),
            &tree::read(&unpacked.root),
            &expected,
        );
    }
}

#[test]
fn rare_entry_types_are_unpacked_or_skipped() {
    let unpacked = unpack(&[LayerBuilder::new()
        .entry(TarEntry::new(b'V', "volume label"))
        .entry(TarEntry::new(b'g', "pax_global_header").content("16 comment=abcd\n"))
        .entry(TarEntry::new(b'7', "contiguous").content("c"))
        .entry(
            TarEntry::new(b'D', "dumpdir/")
                .format(Format::Gnu)
                .content("Yfile\0\0"),
        )
        .entry(TarEntry::new(0, "slashed/"))
        .entry(TarEntry::new(b'Z', "unknown").content("u"))
        .file(".wh..wh.plnk/1.2", "aufs")
        .finish()]);
    let tree = tree::read(&unpacked.root);
    let kinds: Vec<_> = tree
        .iter()
        .map(|(name, node)| (name.as_str(), node.kind == Kind::Directory))
        .collect();
    assert_eq!(
        kinds,
        [
            (".", true),
            ("./contiguous", false),
            ("./dumpdir", true),
            ("./slashed", true),
            ("./unknown", false)
        ]
    );
}

#[test]
fn implied_directories_are_created() {
    let unpacked = unpack(&[
        LayerBuilder::new()
            .directory("a")
            .file("a/b/c/file", "x")
            .file("plain", "in the way")
            .finish(),
        LayerBuilder::new().file("plain/file", "y").finish(),
    ]);
    let tree = tree::read(&unpacked.root);
    assert_eq!(tree["./a"].mtime, (1_500_000_000, 0));
    for implied in ["./a/b", "./a/b/c", "./plain"] {
        assert_eq!(tree[implied].mode, 0o755, "{implied}");
    }
    assert!(unpacked.root.join("plain/file").is_file());
}

#[test]
fn every_mode_is_set_despite_the_umask() {
    const TYPES: [u8; 3] = *b"056";
    let name = |flag: u8, mode: u32| format!("{}{mode:04o}", char::from(flag));
    let mut layer = LayerBuilder::new();
    for mode in 0..0o10000 {
        for flag in TYPES {
            layer = layer.entry(TarEntry::new(flag, name(flag, mode)).mode(mode));
        }
    }
    // Files too large for the writer threads.
    let large = |mode| TarEntry::new(b'0', format!("large{mode:04o}")).mode(mode);
    for mode in [0o000, 0o644, 0o4755, 0o7777] {
        layer = layer.entry(large(mode).content(vec![b'x'; 600_000]));
    }
    let sandbox = Sandbox::new();
    sandbox.write("layer.tar", layer.finish());
    for umask in ["000", "077"] {
        let script = format!("umask {umask}; exec \"$@\"");
        let import = sandbox.udocker(["import", "--tocontainer", "layer.tar"]);
        let import = import
            .through(&["sh", "-c", &script, "sh"])
            .run()
            .succeeds();
        let root = sandbox.store().join("containers").join(import.text());
        let mode_of = |name: &str| {
            let found = fs::symlink_metadata(root.join("ROOT").join(name)).unwrap();
            found.mode() & 0o7777
        };
        for mode in 0..0o10000 {
            for flag in TYPES {
                let least = if flag == b'5' { 0o700 } else { 0o600 };
                let name = name(flag, mode);
                assert_eq!(mode_of(&name), mode | least, "{name} with umask {umask}");
            }
        }
        assert_eq!(mode_of("large0000"), 0o600);
        assert_eq!(mode_of("large0644"), 0o644);
        assert_eq!(mode_of("large4755"), 0o4755);
        assert_eq!(mode_of("large7777"), 0o7777);
        sandbox.udocker(["rm", import.text()]).run().succeeds();
    }
}

#[test]
fn symlink_through_a_missing_directory_and_dot_dot_resolves() {
    let unpacked = unpack(&[
        LayerBuilder::new()
            .file("file", "below")
            .symlink("link", "made/..")
            .symlink("top", "../made/../..")
            .finish(),
        LayerBuilder::new()
            .file("link/file", "above")
            .file("top/other", "other")
            .finish(),
    ]);
    let read = |name: &str| fs::read_to_string(unpacked.root.join(name)).unwrap();
    assert_eq!(
        (read("file"), read("other")),
        ("above".into(), "other".into())
    );
}

#[test]
fn user_extended_attributes_are_kept_where_supported() {
    let unpacked = unpack(&[LayerBuilder::new()
        .entry(
            TarEntry::new(b'0', "file")
                .pax("SCHILY.xattr.user.note", b"\0binary")
                .pax("SCHILY.xattr.security.capability", "dropped")
                .pax("SCHILY.xattr.user.", "nameless"),
        )
        .entry(TarEntry::new(b'5', "directory").pax("SCHILY.xattr.user.note", "kept"))
        .entry(
            TarEntry::new(b'0', "large")
                .content(vec![b'x'; 700_000])
                .pax("SCHILY.xattr.user.note", "kept"),
        )
        .finish()]);
    let mut value = [0; 32];
    for (name, expected) in [
        ("file", &b"\0binary"[..]),
        ("directory", b"kept"),
        ("large", b"kept"),
    ] {
        match rustix::fs::getxattr(unpacked.root.join(name), "user.note", &mut value) {
            Ok(length) => assert_eq!(&value[..length], expected, "{name}"),
            Err(error) => assert_eq!(error, rustix::io::Errno::OPNOTSUPP),
        }
    }
    let file = unpacked.root.join("file");
    assert!(rustix::fs::getxattr(&file, "security.capability", &mut value).is_err());
}

#[test]
fn directory_has_the_extended_attributes_of_its_last_entry() {
    let directory = |name: &str, attributes: &[(&str, &str)]| {
        let entry = TarEntry::new(b'5', name);
        attributes.iter().fold(entry, |entry, (name, value)| {
            entry.pax(&format!("SCHILY.xattr.user.{name}"), value)
        })
    };
    let lower = &[("a", "1"), ("b", "1")];
    let upper = &[("b", "2"), ("c", "2")];
    let layers = [lower, upper].map(|attributes| {
        let layer = LayerBuilder::new();
        let layer = layer.entry(directory("./", attributes));
        layer.entry(directory("d", attributes)).finish()
    });
    let unpacked = unpack(&layers);
    if !xattrs::set(unpacked.scratch.path(), "user.a", "1") {
        return skip("the file system has no extended attributes");
    }
    let expected = upper.map(|(name, value)| (format!("user.{name}"), value.to_string()));
    let tree = tree::read(&unpacked.root);
    for directory in [".", "./d"] {
        assert_eq!(tree[directory].xattrs, expected.clone().into());
    }
}

/// The file may have been written already, or still be queued.
#[test]
fn implied_directory_replaces_a_file_of_the_same_layer() {
    const COUNT: u32 = 300;
    let layer = (0..COUNT).fold(LayerBuilder::new(), |layer, number| {
        layer
            .file(format!("{number}"), vec![b'x'; 3000])
            .file(format!("{number}/below"), "y")
    });
    let unpacked = unpack(&[layer.finish()]);
    for number in 0..COUNT {
        let below = unpacked.root.join(format!("{number}/below"));
        assert_eq!(fs::read(below).unwrap(), b"y");
    }
}

#[test]
fn directories_that_stay_keep_their_time() {
    let lower = LayerBuilder::new()
        .file("opaque/sub/old", "")
        .file("whiteout/sub/old", "")
        .directory("implied")
        .file("implied/file", "");
    let upper = LayerBuilder::new()
        .directory("opaque/sub")
        .opaque("opaque")
        .directory("whiteout/sub")
        .whiteout("whiteout/sub")
        .file("implied/file/new", "");
    let unpacked = unpack(&[lower.finish(), upper.finish()]);
    for path in ["opaque/sub", "whiteout/sub", "implied"] {
        let found = fs::metadata(unpacked.root.join(path)).unwrap();
        assert_eq!(found.mtime(), MTIME, "{path}");
        assert!(!unpacked.root.join(path).join("old").exists(), "{path}");
    }
}

#[test]
fn compressed_layers_are_unpacked_and_verified_in_one_pass() {
    use std::io::Write;
    let plain = LayerBuilder::new().file("file", "content").finish();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = plain.split_at(700);
    for (name, bytes) in [
        ("plain", plain.clone()),
        (
            "members",
            [gzip(first), gzip(second), b"trailing".to_vec()].concat(),
        ),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
    ] {
        let unpacked = crate::unpack::Unpacked::empty();
        let layer = |diff_id| {
            [Ok::<_, udocker::rootfs::RootfsError>(
                udocker::rootfs::Layer {
                    name: "L".to_string(),
                    source: Box::new(&bytes[..]),
                    diff_id: Some(udocker::oci::DiffId(diff_id)),
                    size: None,
                },
            )]
        };
        let apply = |diff_id| {
            udocker::rootfs::apply_layers(
                &unpacked.root,
                layer(diff_id),
                udocker::rootfs::ApplyOptions::default(),
                &udocker::progress::Silent,
            )
        };
        apply(udocker::oci::Digest::of(&plain)).unwrap();
        assert_eq!(
            fs::read(unpacked.root.join("file")).unwrap(),
            b"content",
            "{name}"
        );
        let wrong = apply(udocker::oci::Digest::of(b"other")).unwrap_err();
        assert!(
            wrong.to_string().contains("has the digest"),
            "{name}: {wrong}"
        );
    }
}

#[test]
fn apply_layers_returns_the_error_of_a_failed_layer_source() {
    use udocker::rootfs::{ApplyOptions, Layer, RootfsError, apply_layers};
    #[derive(Debug, PartialEq)]
    struct Lost(String);
    impl From<RootfsError> for Lost {
        fn from(error: RootfsError) -> Lost {
            Lost(error.to_string())
        }
    }
    let layer = LayerBuilder::new()
        .file("file", vec![b'x'; 1_000_000])
        .finish();
    let good = |number| Layer {
        name: format!("L{number}"),
        source: Box::new(&layer[..]),
        diff_id: None,
        size: None,
    };
    for count in [1, 3] {
        let unpacked = crate::unpack::Unpacked::empty();
        let staging = unpacked.scratch.path().join("staging");
        for staging in [None, Some(&staging)] {
            let lost = Err(Lost("the connection".to_string()));
            let layers = (0..count).map(|number| Ok(good(number))).chain([lost]);
            let options = ApplyOptions {
                staging: staging.map(std::path::PathBuf::as_path),
                workers: Some(2),
                ..ApplyOptions::default()
            };
            let silent = udocker::progress::Silent;
            let result = apply_layers(&unpacked.root, layers, options, &silent);
            assert_eq!(result, Err(Lost("the connection".to_string())), "{count}");
        }
    }
}

#[test]
fn progress_counts_the_bytes_of_every_layer() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use udocker::progress::{Progress, Silent, Task, Unit};
    use udocker::rootfs::{ApplyOptions, Layer, RootfsError, apply_layers};
    #[derive(Default)]
    struct Counter(Arc<AtomicU64>);
    impl Progress for Counter {
        fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Task> {
            assert_eq!((label, total), ("unpacking L0", Some(1_001_984)));
            Box::new(Counter(Arc::clone(&self.0)))
        }
        fn watch(&self, _label: &str, _unit: Unit) -> Box<dyn Task> {
            Box::new(Silent)
        }
        fn note(&self, _message: &str) {}
    }
    impl Task for Counter {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn reset(&self, _bytes: u64) {}
    }
    let layer = LayerBuilder::new()
        .file("file", vec![b'x'; 1_000_000])
        .finish();
    let unpacked = crate::unpack::Unpacked::empty();
    let layers = [Ok::<_, RootfsError>(Layer {
        name: "L0".to_string(),
        source: Box::new(&layer[..]),
        diff_id: None,
        size: Some(layer.len() as u64),
    })];
    let counter = Counter::default();
    let summary = apply_layers(&unpacked.root, layers, ApplyOptions::default(), &counter).unwrap();
    assert_eq!(counter.0.load(Ordering::Relaxed), layer.len() as u64);
    assert_eq!((summary.entries, summary.bytes), (1, 1_000_000));
}
