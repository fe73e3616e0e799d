//! A tree with an entry of every kind that a user can make, for tests of copies.

use super::layer_builder::{LayerBuilder, TarEntry};
use super::sandbox::Sandbox;

/// A layer with an entry of each kind, and with odd names, times, modes, links and holes.
pub fn layer_of_every_kind() -> Vec<u8> {
    let long = "d/".repeat(70) + "file";
    LayerBuilder::new()
        .directory("etc")
        .file("etc/file", "content")
        .hard_link("etc/hard", "etc/file")
        .symlink("etc/soft", "../etc/file")
        .symlink("etc/far", "x".repeat(150))
        .file("etc/odd \u{e9}\nname", "odd")
        .file(&long, "deep")
        .hard_link("linked", &long)
        .file("empty", "")
        .entry(TarEntry::new(b'0', "set").content("x").mode(0o4755))
        .entry(TarEntry::new(b'0', "old").content("x").mtime(-86_400))
        .entry(TarEntry::new(b'5', "sticky").mode(0o1777))
        .entry(TarEntry::new(b'6', "pipe"))
        .hard_link("etc/pipe", "pipe")
        .hard_link("etc/softer", "etc/soft")
        .entry(TarEntry::new(b'0', "noted").pax("SCHILY.xattr.user.note", "a file's"))
        .entry(TarEntry::new(b'5', "marked").pax("SCHILY.xattr.user.note", "a directory's"))
        .file("marked/noted", "")
        .entry(
            TarEntry::new(b'0', "sparse")
                .pax("GNU.sparse.size", "10000000")
                .pax("GNU.sparse.map", "4096,4,9000000,4")
                .content("headtail"),
        )
        .finish()
}

/// A sandbox with a container `kinds` of that layer.
pub fn with_every_kind() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["import", "--tocontainer", "--name=kinds", "-"])
        .stdin(layer_of_every_kind())
        .run()
        .succeeds();
    sandbox
}

/// Makes `clone` and `imported` of the container `kinds`.
pub fn copy_both_ways(sandbox: &Sandbox) {
    for args in [
        &["clone", "--name=clone", "kinds"][..],
        &["export", "-o", "kinds.tar", "kinds"],
        &["import", "--tocontainer", "--name=imported", "kinds.tar"],
    ] {
        sandbox.udocker(args).run().succeeds();
    }
}
