//! Archives of `docker save` and OCI layouts, built from names and contents of members.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use udocker::archive::{ArchiveError, images, read_tar};
use udocker::oci::Platform;

#[path = "../../support/layer_builder.rs"]
#[allow(dead_code, reason = "only a part of it is of use here")]
mod layer_builder;

use layer_builder::{LayerBuilder, TarEntry};

const NAMES: [&str; 6] = [
    "manifest.json",
    "index.json",
    "repositories",
    "oci-layout",
    "layer/layer.tar",
    "config.json",
];

#[derive(Arbitrary, Debug)]
struct File<'a> {
    name: u8,
    other: &'a str,
    kind: u8,
    content: &'a [u8],
}

fuzz_target!(|files: Vec<File<'_>>| {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let tar = files.iter().fold(LayerBuilder::new(), |tar, file| {
        let name = NAMES.get(usize::from(file.name)).unwrap_or(&file.other);
        let kinds = b"000012";
        let entry = TarEntry::new(kinds[usize::from(file.kind) % kinds.len()], name);
        tar.entry(entry.link(file.other).content(file.content))
    });
    let mut count = 0;
    let new_file = || {
        count += 1;
        let path = scratch.path().join(count.to_string());
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a new file");
        Ok::<_, ArchiveError>((path, file))
    };
    if let Ok(contents) = read_tar(&tar.finish()[..], new_file) {
        let _ = images(&contents, &Platform::host());
    }
});
