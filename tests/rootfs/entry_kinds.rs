//! Entries of every kind: the resulting tree equals that of umoci.

use std::fs;

use crate::support::layer_builder::{Format, LayerBuilder, TarEntry};
use crate::umoci::assert_as_umoci;

fn layer() -> LayerBuilder {
    LayerBuilder::new().directory("./")
}

#[test]
fn types_modes_and_times_equal_umoci() {
    let mut layer = layer().directory("bin").directory("empty");
    for mode in [
        0o000, 0o111, 0o444, 0o644, 0o666, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644,
    ] {
        layer = layer.entry(
            TarEntry::new(b'0', format!("bin/file{mode:o}"))
                .mode(mode)
                .content("x"),
        );
        layer = layer.entry(TarEntry::new(b'5', format!("dir{mode:o}")).mode(mode));
    }
    for mode in [0o1777, 0o2775, 0o3777, 0o700] {
        layer = layer
            .entry(TarEntry::new(b'5', format!("tmp{mode:o}")).mode(mode))
            .directory(format!("tmp{mode:o}/below"))
            .file(format!("tmp{mode:o}/below/file"), "content");
    }
    layer = layer
        .symlink("link", "/nowhere/at all")
        .symlink("relative", "../../..")
        .entry(TarEntry::new(b'6', "pipe").mode(0o622))
        .entry(TarEntry::new(b'0', "old").mtime(0).content("1970"))
        .entry(TarEntry::new(b'0', "fine").pax("mtime", "1234567890.123456789"))
        .entry(TarEntry::new(b'5', "finedir").pax("mtime", "1234567890.000000001"))
        .entry(
            TarEntry::new(b'2', "finelink")
                .link("x")
                .pax("mtime", "1234567890.5"),
        )
        .file("finedir/later", "changes no time");
    assert_as_umoci("types, modes and times", &[layer.finish()]);
}

#[test]
fn children_of_unreadable_directories_equal_umoci() {
    let layer = layer()
        .entry(TarEntry::new(b'5', "closed").mode(0))
        .file("closed/file", "x")
        .entry(TarEntry::new(b'5', "closed/readonly").mode(0o555))
        .file("closed/readonly/file", "x");
    let upper = LayerBuilder::new()
        .file("closed/another", "y")
        .whiteout("closed/readonly/file");
    assert_as_umoci("unreadable directories", &[layer.finish(), upper.finish()]);
}

#[test]
fn whiteouts_equal_umoci() {
    let lower = layer()
        .directory("a")
        .file("a/one", "1")
        .file("a/two", "2")
        .directory("a/sub")
        .directory("a/sub/deep")
        .file("a/sub/deep/file", "d")
        .directory("b")
        .file("b/one", "1")
        .directory("b/sub")
        .file("b/sub/file", "f")
        .symlink("blink", "b")
        .file("plain", "p")
        .symlink("dangling", "nowhere");
    for (name, upper) in [
        ("of a file", LayerBuilder::new().whiteout("a/one")),
        ("of a directory", LayerBuilder::new().whiteout("a")),
        ("of a link", LayerBuilder::new().whiteout("blink")),
        (
            "of a dangling link",
            LayerBuilder::new().whiteout("dangling"),
        ),
        (
            "of nothing",
            LayerBuilder::new().whiteout("a/none").whiteout("none/none"),
        ),
        (
            "of a file, then new",
            LayerBuilder::new().whiteout("a/one").file("a/one", "new"),
        ),
        (
            "of a file, after new",
            LayerBuilder::new().file("a/one", "new").whiteout("a/one"),
        ),
        (
            "of a directory, then new",
            LayerBuilder::new()
                .whiteout("a")
                .directory("a")
                .file("a/new", "n"),
        ),
        (
            "of a directory, after new",
            LayerBuilder::new()
                .directory("a")
                .file("a/new", "n")
                .whiteout("a"),
        ),
        (
            "of a directory, after a new child",
            LayerBuilder::new().file("a/sub/new", "n").whiteout("a"),
        ),
        ("through a link", LayerBuilder::new().whiteout("blink/one")),
        ("opaque", LayerBuilder::new().opaque("a")),
        (
            "opaque root",
            LayerBuilder::new()
                .file(".wh..wh..opq", "")
                .file("new", "n"),
        ),
        (
            "opaque, then new",
            LayerBuilder::new().opaque("a").file("a/new", "n"),
        ),
        (
            "opaque, after new",
            LayerBuilder::new().file("a/new", "n").opaque("a"),
        ),
        (
            "opaque, with a directory that both have",
            LayerBuilder::new()
                .directory("a")
                .directory("a/sub")
                .file("a/sub/new", "n")
                .opaque("a"),
        ),
        (
            "opaque, before a directory that both have",
            LayerBuilder::new()
                .directory("a")
                .opaque("a")
                .directory("a/sub")
                .file("a/sub/new", "n"),
        ),
        ("opaque through a link", LayerBuilder::new().opaque("blink")),
        (
            "as directories",
            LayerBuilder::new()
                .directory("a/.wh.one/")
                .directory(".wh.b/"),
        ),
        (
            "as links",
            LayerBuilder::new()
                .symlink("a/.wh.one", "/etc/passwd")
                .hard_link("a/.wh.two", "plain"),
        ),
        (
            "of a name with a blank and a newline",
            LayerBuilder::new()
                .file("a/new \nline", "")
                .whiteout("a/new \nline")
                .whiteout("a/ \n"),
        ),
        ("opaque of nothing", LayerBuilder::new().opaque("none")),
    ] {
        assert_as_umoci(
            &format!("whiteout {name}"),
            &[lower.clone().finish(), upper.finish()],
        );
    }
}

#[test]
fn every_entry_type_replaces_every_other_as_umoci_does() {
    fn add(layer: LayerBuilder, kind: &str, name: &str, version: &str) -> LayerBuilder {
        match kind {
            "file" => layer.file(name, version),
            "slashed" => layer.directory(format!("{name}/")),
            "slashed file" => layer.file(format!("{name}/"), version),
            "old directory" => layer.entry(TarEntry::new(0, format!("{name}/")).mode(0o711)),
            "slashed symlink" => layer.symlink(format!("{name}/"), format!("target{version}/")),
            "slashed hard link" => layer.hard_link(format!("{name}/"), "elsewhere/file"),
            "slashed fifo" => layer.entry(TarEntry::new(b'6', format!("{name}/"))),
            "directory" => layer
                .entry(TarEntry::new(b'5', name).mode(0o750).mtime(1_234_567))
                .file(format!("{name}/in{version}"), version),
            "symlink" => layer.symlink(name, format!("target{version}")),
            "link to directory" => layer.symlink(name, "elsewhere"),
            "hard link" => layer.hard_link(name, "elsewhere/file"),
            "fifo" => layer.entry(TarEntry::new(b'6', name)),
            _ => unreachable!(),
        }
    }
    let kinds = [
        "file",
        "slashed file",
        "slashed",
        "old directory",
        "directory",
        "symlink",
        "slashed symlink",
        "link to directory",
        "hard link",
        "slashed hard link",
        "fifo",
        "slashed fifo",
    ];
    let base = || layer().directory("elsewhere").file("elsewhere/file", "e");
    let mut across = [base(), LayerBuilder::new()];
    let mut within = base();
    for old in kinds {
        for new in kinds {
            let name = format!("{old}-{new}");
            let [lower, upper] = across;
            across = [add(lower, old, &name, "1"), add(upper, new, &name, "2")];
            within = add(add(within, old, &name, "1"), new, &name, "2");
        }
    }
    assert_as_umoci(
        "replaced across layers",
        &across.map(|layer| layer.finish()),
    );
    assert_as_umoci("replaced within a layer", &[within.finish()]);
}

#[test]
fn entries_replace_implied_directories_as_umoci_does() {
    let mut layer = layer().directory("new");
    for name in ["directory", "file", "symlink", "hard", "fifo", "deep/er"] {
        layer = layer.file(format!("new/{name}/below"), "x");
    }
    let layer = layer
        .entry(TarEntry::new(b'5', "new/directory").mode(0o711))
        .file("new/file", "y")
        .symlink("new/symlink", "file")
        .hard_link("new/hard", "new/file")
        .entry(TarEntry::new(b'6', "new/fifo"))
        .file("new/deep/er", "y");
    assert_as_umoci("implied directories", &[layer.finish()]);
}

#[test]
fn hard_links_equal_umoci() {
    let lower = layer()
        .directory("d")
        .file("d/file", "f")
        .hard_link("within", "d/file")
        .symlink("symlink", "d/file")
        .hard_link("to-symlink", "symlink")
        .hard_link("./dotted", "./d/file")
        .hard_link("rooted", "/d/file")
        .file("replaced", "old")
        .hard_link("keeps-old", "replaced")
        .file("replaced", "new");
    let upper = LayerBuilder::new()
        .hard_link("across", "d/file")
        .file("d/file", "replaced in the upper layer")
        .hard_link("d/again", "d/file")
        .hard_link("d/again", "d/file");
    assert_as_umoci("hard links", &[lower.finish(), upper.finish()]);
}

#[test]
fn symlinked_parents_resolve_inside_the_rootfs_as_umoci_does() {
    let lower = layer()
        .directory("usr")
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("chain", "abs")
        .symlink("up", "../../../usr")
        .symlink("usr/back", "../usr/./lib/")
        .symlink("newdir", "/made/on/demand");
    let upper = LayerBuilder::new()
        .file("lib/a", "a")
        .file("abs/b", "b")
        .file("chain/c", "c")
        .file("up/d", "d")
        .file("usr/back/e", "e")
        .file("newdir/f", "f")
        .directory("lib/sub")
        .file("lib/sub/g", "g")
        .hard_link("linked", "chain/c");
    assert_as_umoci("links as parents", &[lower.finish(), upper.finish()]);
}

#[test]
fn entry_names_of_every_kind_equal_umoci() {
    let long = "n".repeat(255);
    let path = format!("{}{long}", "directory/".repeat(20));
    let mut gnu = layer();
    let mut pax = layer();
    for name in [
        "ünïcödé/文件",
        "new\nline",
        "tab\tand\\backslash",
        " blanks ",
        "-dash",
        &long,
        &path,
    ] {
        gnu = gnu.entry(TarEntry::new(b'0', name).format(Format::Gnu).content("g"));
        pax = pax.file(format!("p/{name}"), "p");
    }
    let target = "t".repeat(300);
    gnu = gnu
        .entry(
            TarEntry::new(b'2', "long-target")
                .link(&target)
                .format(Format::Gnu),
        )
        .entry(
            TarEntry::new(b'1', "long-hard-link")
                .link(&path)
                .format(Format::Gnu),
        )
        .entry(TarEntry::new(b'0', b"bad\xff\xfeutf8").format(Format::Gnu));
    pax = pax
        .symlink("long-target", &target)
        .hard_link("long-hard-link", format!("p/{path}"));
    assert_as_umoci("GNU names", &[gnu.finish()]);
    assert_as_umoci("PAX names", &[pax.finish()]);
}

#[test]
fn old_tar_formats_equal_umoci() {
    let layer = layer()
        .entry(TarEntry::new(0, "v7").format(Format::V7).content("seven"))
        .entry(TarEntry::new(0, "v7dir/").format(Format::V7).mode(0o755))
        .entry(
            TarEntry::new(b'0', "negative")
                .format(Format::Gnu)
                .mtime(-86_400),
        );
    assert_as_umoci("old formats", &[layer.finish()]);
}

#[test]
fn many_small_files_and_large_ones_equal_umoci() {
    let mut layer = layer();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for directory in 0..400 {
        layer = layer.directory(format!("d{directory}"));
        for file in 0..10 {
            layer = layer.file(format!("d{directory}/f{file}"), vec![b'x'; file * 700]);
        }
        if directory % 100 == 50 {
            layer = layer.file(format!("d{directory}/large"), &large);
        }
    }
    let mut upper = LayerBuilder::new();
    for directory in 0..400 {
        upper = upper
            .file(format!("d{directory}/f0"), "again")
            .whiteout(&format!("d{directory}/f1"));
    }
    assert_as_umoci("many files", &[layer.finish(), upper.finish()]);
}

#[test]
fn sixty_layers_with_empty_ones_equal_umoci() {
    let mut layers = vec![layer().directory("d").finish()];
    for index in 0..59 {
        let layer = LayerBuilder::new();
        layers.push(match index % 3 {
            0 => layer.finish(),
            1 => layer
                .file(format!("d/{index}"), "x")
                .file("same", format!("{index}"))
                .finish(),
            _ => layer.whiteout(&format!("d/{}", index - 4)).finish(),
        });
    }
    assert_as_umoci("sixty layers", &layers);
}

/// Many more layers than the prefetcher has buffers.
#[test]
fn four_hundred_layers_are_applied_in_order() {
    let layers: Vec<Vec<u8>> = (0..400)
        .map(|index| layer().file("same", format!("{index}")).finish())
        .collect();
    let unpacked = crate::unpack::unpack(&layers);
    assert_eq!(fs::read(unpacked.root.join("same")).unwrap(), b"399");
}
