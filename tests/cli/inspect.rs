//! `inspect`.

use serde::Serialize;

use crate::support::archives::{two_layers, with_image};
use crate::support::container;
use crate::support::sandbox::Sandbox;

/// JSON as Python's `json.dumps(value, sort_keys=True, indent=4)` writes it.
fn indented_by_four(value: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, format);
    value.serialize(&mut serializer).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn inspect_prints_the_same_document_of_image_and_container() {
    let sandbox = with_image(&two_layers(), "lab/a:1");
    let create = ["create", "--name=box", "lab/a:1"];
    sandbox.udocker(create).run().succeeds();
    let image = sandbox.udocker(["inspect", "lab/a:1"]).run().succeeds();
    let document: serde_json::Value = serde_json::from_str(&image.stdout).unwrap();
    assert_eq!(document["config"]["Cmd"], serde_json::json!(["/bin/sh"]));
    let image = image.prints(&indented_by_four(&document));
    let container = sandbox.udocker(["inspect", "box"]).run().succeeds();
    container.prints(image.text());
}

#[test]
fn inspect_prints_the_path_of_a_container_by_name_and_id() {
    let sandbox = Sandbox::new();
    let directory = container::empty(&sandbox);
    let id = directory.file_name().unwrap().to_str().unwrap();
    for target in ["one", id] {
        let shown = sandbox.udocker(["inspect", "-p", target]).run().succeeds();
        shown.prints(directory.join("ROOT").to_str().unwrap());
    }
    sandbox
        .udocker(["inspect", "-p", "two"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["invalid container id or name 'two'"]);
}
