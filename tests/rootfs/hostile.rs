//! Layers that try to reach outside the rootfs; nothing there may change.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use udocker::progress::Silent;
use udocker::rootfs::{ApplyOptions, RootfsError, Summary, remove_tree};

use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::tree::{self, assert_same};
use crate::unpack::{Unpacked, apply_ahead, apply_to, text};

/// How layers are applied.
type Apply = fn(&Unpacked, &[Vec<u8>]) -> Result<Summary, RootfsError>;

const IN_TURN: Apply = |unpacked, layers| apply_to(&unpacked.root, layers);
const AHEAD: Apply = |unpacked, layers| {
    let result = apply_ahead(unpacked, layers, ApplyOptions::default());
    if result.is_err() {
        remove_tree(&unpacked.root.with_file_name("staging"), &Silent).unwrap();
    }
    result
};

/// Applies layers, sequentially and with prefetching, beside a directory that they try to reach.
/// Fails if that directory changes, and returns the result.
fn attack(
    name: &str,
    layers: impl Fn(&str) -> Vec<LayerBuilder>,
) -> (Unpacked, Result<Summary, RootfsError>) {
    let (ahead, again) = attack_by(AHEAD, name, &layers);
    remove_tree(&ahead.root, &Silent).unwrap();
    let (unpacked, result) = attack_by(IN_TURN, name, &layers);
    let without_place = |unpacked: &Unpacked, result| {
        let place = unpacked.scratch.path().to_str().unwrap();
        text(result).replace(&place[1..], "")
    };
    let again = without_place(&ahead, &again);
    assert_eq!(again, without_place(&unpacked, &result), "{name}");
    (unpacked, result)
}

fn attack_by(
    apply: Apply,
    name: &str,
    layers: impl Fn(&str) -> Vec<LayerBuilder>,
) -> (Unpacked, Result<Summary, RootfsError>) {
    let unpacked = Unpacked::empty();
    let outside = unpacked.scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::create_dir(outside.join("directory")).unwrap();
    fs::write(outside.join("directory/file"), "file").unwrap();
    let before = tree::read(&outside);
    let links_before = fs::metadata(outside.join("secret")).unwrap().nlink();
    let layers: Vec<_> = layers(outside.to_str().unwrap())
        .into_iter()
        .map(LayerBuilder::finish)
        .collect();
    let result = apply(&unpacked, &layers);
    assert_same(name, &tree::read(&outside), &before);
    let links = fs::metadata(outside.join("secret")).unwrap().nlink();
    assert_eq!(links, links_before, "{name}: linked from inside");
    let mut beside: Vec<_> = fs::read_dir(unpacked.scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    beside.sort();
    assert_eq!(beside, ["outside", "root"], "{name}");
    (unpacked, result)
}

#[test]
fn entry_names_with_dot_dot_are_refused() {
    for name in [
        "../outside/secret",
        "a/../../outside/secret",
        "/../outside/secret",
        "./../outside/secret",
        "..",
        "a/..",
        "../.wh.outside",
    ] {
        for flag in *b"01256" {
            let (_, result) = attack(name, |_| {
                vec![
                    LayerBuilder::new()
                        .file("target", "")
                        .entry(TarEntry::new(flag, name).link("target")),
                ]
            });
            let message = result.unwrap_err().to_string();
            assert!(
                message.ends_with(&format!("entry '{name}' is refused: its name holds '..'")),
                "{message}"
            );
        }
    }
}

#[test]
fn entries_below_symlinks_stay_in_the_rootfs() {
    for (name, target) in [
        ("absolute", "OUTSIDE"),
        ("relative", "../outside"),
        ("far up", "../../../../../../../../../OUTSIDE"),
        ("chained", "second"),
        (
            "through the process's own directory",
            "/proc/self/cwd/../outside",
        ),
    ] {
        let link = |outside: &str| {
            LayerBuilder::new()
                .symlink("second", "third")
                .symlink("third", format!("/../..{outside}"))
                .symlink("link", target.replace("OUTSIDE", outside))
        };
        let through = |layer: LayerBuilder| {
            layer
                .file("link/secret", "overwritten")
                .file("link/new", "new")
                .directory("link/directory")
                .file("link/directory/file", "overwritten")
                .hard_link("stolen", "link/secret")
                .whiteout("link/secret")
                .symlink("link/directory/link", "x")
                .entry(TarEntry::new(b'6', "link/pipe"))
                .opaque("link")
                .whiteout("link/directory")
        };
        let (_, within) = attack(name, |outside| vec![through(link(outside))]);
        within.unwrap();
        let (_, across) = attack(name, |outside| {
            vec![link(outside), through(LayerBuilder::new())]
        });
        across.unwrap();
    }
}

#[test]
fn absolute_entry_names_are_relative_to_the_rootfs() {
    let (unpacked, result) = attack("absolute names", |outside| {
        vec![
            LayerBuilder::new()
                .file(format!("{outside}/secret"), "inside")
                .file(
                    format!("//{outside}/directory/../file").replace("/../", "/"),
                    "inside",
                ),
        ]
    });
    result.unwrap();
    let outside = unpacked.scratch.path().join("outside");
    let inside = unpacked.root.join(outside.strip_prefix("/").unwrap());
    assert_eq!(fs::read(inside.join("secret")).unwrap(), b"inside");
}

#[test]
fn entries_replace_symlinks_and_do_not_write_through_them() {
    let (unpacked, result) = attack("last component", |outside| {
        vec![
            LayerBuilder::new()
                .symlink("file", format!("{outside}/secret"))
                .symlink("directory", format!("{outside}/directory"))
                .symlink("linked", format!("{outside}/secret"))
                .file("file", "mine")
                .directory("directory")
                .file("directory/file", "mine")
                .entry(TarEntry::new(b'0', "large").content(vec![b'x'; 700_000]))
                .hard_link("linked", "large"),
            LayerBuilder::new()
                .symlink("large", format!("{outside}/secret"))
                .entry(TarEntry::new(b'0', "large").content(vec![b'y'; 700_000])),
        ]
    });
    result.unwrap();
    assert_eq!(fs::read(unpacked.root.join("file")).unwrap(), b"mine");
    assert_eq!(fs::read(unpacked.root.join("linked")).unwrap()[0], b'x');
    assert_eq!(fs::read(unpacked.root.join("large")).unwrap()[0], b'y');
}

#[test]
fn hard_links_to_host_files_are_refused() {
    for target in [
        "OUTSIDE/secret",
        "../outside/secret",
        "../../../OUTSIDE/secret",
    ] {
        let (_, result) = attack(target, |outside| {
            vec![
                LayerBuilder::new()
                    .hard_link("mine", target.replace("OUTSIDE", outside))
                    .file("mine", "overwritten"),
            ]
        });
        let message = result.unwrap_err().to_string();
        assert!(message.contains("to link to"), "{message}");
    }
}

#[test]
fn hard_link_to_a_symlink_links_the_symlink() {
    let (unpacked, result) = attack("link to link", |outside| {
        vec![
            LayerBuilder::new()
                .symlink("symlink", format!("{outside}/secret"))
                .hard_link("linked", "symlink")
                .file("linked", "mine"),
        ]
    });
    result.unwrap();
    assert_eq!(fs::read(unpacked.root.join("linked")).unwrap(), b"mine");
    assert!(unpacked.root.join("symlink").is_symlink());
}

#[test]
fn whiteouts_without_a_valid_name_are_refused() {
    for (name, reason) in [
        (".wh.", "it is a whiteout that names nothing to delete"),
        (".wh..", "it is a whiteout that names nothing to delete"),
        (".wh...", "it is a whiteout that names nothing to delete"),
        ("a/.wh...", "it is a whiteout that names nothing to delete"),
        (".wh.../outside", "it lies below a whiteout"),
        (".wh.a/b", "it lies below a whiteout"),
    ] {
        let (_, result) = attack(name, |_| {
            vec![LayerBuilder::new().directory("a").file(name, "")]
        });
        let message = result.unwrap_err().to_string();
        assert_eq!(
            message,
            format!("layer 'L0' cannot be unpacked: entry '{name}' is refused: {reason}")
        );
    }
}

#[test]
fn entries_cannot_replace_the_root_directory() {
    for flag in [0, b'0', b'1', b'2', b'3', b'6'] {
        for name in [".", "./", "/", ""] {
            let (unpacked, result) = attack("root", |outside| {
                vec![LayerBuilder::new().entry(TarEntry::new(flag, name).link(outside))]
            });
            // A trailing slash turns an old-style file entry into a directory.
            let is_directory = flag == 0 && name.ends_with('/');
            assert_eq!(result.is_ok(), is_directory, "{name} {flag}");
            assert!(unpacked.root.is_dir() && !unpacked.root.is_symlink());
        }
    }
}

#[test]
fn messages_escape_hostile_entry_names() {
    let (_, result) = attack("escapes", |_| {
        vec![LayerBuilder::new().file(b"a\n\x1b[2Jb\xff/..", "")]
    });
    assert_eq!(
        result.unwrap_err().to_string(),
        "layer 'L0' cannot be unpacked: entry 'a\\n\\u{1b}[2Jb\\xff/..' is refused: its name holds '..'"
    );
}

#[test]
fn trees_deeper_than_path_max_are_unpacked_and_removed() {
    // Deeper than PATH_MAX and than the limit on open files.
    const DEPTH: usize = 2500;
    let mut layer = LayerBuilder::new();
    let mut path = String::new();
    for _ in 0..DEPTH {
        path.push_str("d/");
        layer = layer.directory(&path);
    }
    let layer = layer
        .file(format!("{path}file"), "deep")
        .symlink("link", &path[..4000]);
    let upper = LayerBuilder::new()
        .file("link/new", "new")
        .directory(format!("{path}{}", "e/".repeat(DEPTH)))
        .whiteout(&format!("{path}file"));
    let (unpacked, result) = attack("depth", |_| vec![layer.clone(), upper.clone()]);
    result.unwrap();
    let mut directory = File::open(&unpacked.root).unwrap();
    for level in 1..=2 * DEPTH {
        let name = if level <= DEPTH { "d" } else { "e" };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        directory = openat(&directory, name, flags, Mode::empty())
            .unwrap()
            .into();
        let has = |name: &str| statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        assert_eq!(has("new"), level == 4000 / 2, "{level}");
        assert!(!has("file"), "{level}");
    }
    remove_tree(&unpacked.root, &Silent).unwrap();
    assert!(!unpacked.root.exists());
}

#[test]
fn resolving_dot_dot_in_deep_symlinks_is_fast() {
    let deep = "d/".repeat(15_000);
    let up_and_down = "x/../".repeat(800);
    let layer = LayerBuilder::new()
        .directory(format!("{deep}x"))
        .symlink(format!("{deep}first"), format!("{up_and_down}second"))
        .symlink(format!("{deep}second"), format!("{up_and_down}x"))
        .file(format!("{deep}first/file"), "");
    let start = Instant::now();
    let (unpacked, result) = attack_by(IN_TURN, "up and down", |_| vec![layer.clone()]);
    let elapsed = start.elapsed();
    remove_tree(&unpacked.root, &Silent).unwrap();
    result.unwrap();
    // Each `..` would take milliseconds if it were resolved from the root again.
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

#[test]
fn long_symlink_chains_are_refused() {
    let detour = "x/../".repeat(800);
    let mut layer = LayerBuilder::new().directory("x").directory("end");
    for link in 0..4 {
        layer = layer.symlink(format!("{link}"), format!("{detour}{}", link + 1));
    }
    layer = layer.symlink("4", "end");
    attack("short way", |_| vec![layer.clone().file("3/file", "")])
        .1
        .unwrap();
    let (_, result) = attack("maze", |_| vec![layer.clone().file("0/file", "")]);
    assert_eq!(
        result.unwrap_err().to_string(),
        "layer 'L0' cannot be unpacked: cannot open the directory '0': Too many levels of symbolic \
         links (os error 40)"
    );
}

#[test]
fn repeated_whiteouts_visit_a_directory_once() {
    // Visiting the directory for each whiteout would take minutes.
    const TIMES: usize = 10_000;
    let lower = LayerBuilder::new()
        .file("d/old", "")
        .file("d/e/old", "")
        .file("d/gone/old", "");
    let mut upper = LayerBuilder::new();
    for number in 0..TIMES {
        upper = upper.file(format!("d/e/{number}"), "");
    }
    for _ in 0..TIMES {
        upper = upper
            .opaque("d")
            .whiteout("d")
            .opaque("d/e")
            .whiteout("d/e");
    }
    let upper = upper.file("d/after", "");
    let (unpacked, result) = attack("whiteouts", |_| vec![lower.clone(), upper.clone()]);
    result.unwrap();
    let names = |path: &str| fs::read_dir(unpacked.root.join(path)).unwrap().count();
    assert_eq!((names("d"), names("d/e")), (2, TIMES));
    assert!(!unpacked.root.join("d/e/old").exists());
}

#[test]
fn directories_swapped_for_symlinks_during_apply_are_not_followed() {
    for apply in [IN_TURN, AHEAD] {
        swap_meanwhile(apply);
    }
}

fn swap_meanwhile(apply: Apply) {
    let unpacked = Unpacked::empty();
    let outside = unpacked.scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let root = unpacked.root.clone();
    let mut layer = LayerBuilder::new().directory("a").directory("a/b");
    for index in 0..3000 {
        // Many directories, so that some descriptors are closed and opened again.
        layer = layer
            .directory(format!("other{index}"))
            .file(format!("a/b/file{index}"), "x");
    }
    let layer = layer.finish();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::sync::atomic::Ordering;
            while !is_done.load(Ordering::Relaxed) {
                swap(&root, &outside);
            }
        });
        // It may fail, since the directory is replaced meanwhile.
        let _ = apply(&unpacked, std::slice::from_ref(&layer));
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// Replaces `a/b` for a moment by a symbolic link out of the rootfs.
fn swap(root: &Path, outside: &Path) {
    if fs::rename(root.join("a/b"), root.join("a/away")).is_ok() {
        let _ = symlink(outside, root.join("a/b"));
        std::thread::yield_now();
        let _ = fs::remove_file(root.join("a/b"));
        let _ = fs::rename(root.join("a/away"), root.join("a/b"));
    }
}
