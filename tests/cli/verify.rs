//! `verify`.

use std::fs;

use crate::support::archives::with_image;
use crate::support::image::ImageBuilder;
use crate::support::layer_builder::LayerBuilder;

#[test]
fn verify_names_each_damaged_layer() {
    let layer = |name: &str| LayerBuilder::new().file(name, vec![b'x'; 5000]).finish();
    let image = ImageBuilder::new()
        .layer(layer("altered"))
        .layer(layer("cut"))
        .layer(layer("longer"))
        .layer(layer("whole"));
    let name = "lab/verify:1";
    let sandbox = with_image(&image, name);
    let whole = sandbox.udocker(["verify", name]).run().succeeds();
    let whole = whole.prints("");
    assert!(
        whole
            .stderr
            .ends_with("Info: image 'lab/verify:1' is whole: 4 layers checked\n"),
        "{whole:#?}"
    );

    let manifest = fs::read(sandbox.store().join("repos/lab/verify/1/manifest")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let digests: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap())
        .collect();
    let blob = |index: usize| sandbox.store().join("layers").join(digests[index]);
    let change = |index: usize, change: fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(blob(index)).unwrap();
        change(&mut bytes);
        fs::write(blob(index), bytes).unwrap();
    };
    change(0, |bytes| bytes[30] ^= 1);
    change(1, |bytes| bytes.truncate(40));
    change(2, |bytes| bytes.push(0));

    let ran = sandbox.udocker(["-q", "verify", name]).run();
    let ran = ran.exits_with(1);
    let short = |index: usize| &digests[index]["sha256:".len()..][..12];
    for index in 0..4 {
        let line = ran.stderr.lines().find(|line| line.contains(short(index)));
        match (index, line) {
            (0..=2, Some(line)) => assert!(line.contains("has the content of sha256:"), "{line}"),
            (3, None) => {}
            (_, line) => panic!("layer {index}: {line:?} in {ran:#?}"),
        }
    }
}
