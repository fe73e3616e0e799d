//! Arguments that are malformed, or name what does not exist.

use std::fs;

use crate::support::prepared::{BUSYBOX, empty_registry, storage, with_container};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::sandbox::Sandbox;

#[test]
fn malformed_image_references_are_refused() {
    let sandbox = Sandbox::new();
    // `src/oci/reference.rs` tests the parser.
    for text in ["", "UPPER"] {
        for command in ["pull", "create", "rmi"] {
            let ran = sandbox.udocker([command, text]).run();
            assert!(matches!(ran.code(), 1 | 2 | 125), "{text:?}: {ran:#?}");
            ran.errs_in_one_line(&[text]);
        }
    }
    sandbox.assert_empty();
}

#[test]
fn malformed_container_names_are_refused() {
    let Some((sandbox, image)) = with_container() else {
        return;
    };
    let before = sandbox.leftovers();
    let long = "n".repeat(300);
    for name in ["a/b", ".", "..", "a.b", "a b", "a[b", "a]b", &long] {
        let option = format!("--name={name}");
        let ran = sandbox.udocker(["create", &option, &image]).run();
        assert!(matches!(ran.code(), 1 | 2), "{name:?}: {ran:#?}");
        // The message need not repeat a name that is too long.
        ran.errs_in_one_line(&[if name.len() < 100 { name } else { "" }]);
    }
    sandbox
        .udocker(["create", "--name=box", &image])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["'box'"]);
    assert_eq!(sandbox.leftovers(), before);
}

#[test]
fn unknown_tag_or_repository_is_named() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let digest = format!("lab/busybox@sha256:{}", "0".repeat(64));
    for name in [
        "lab/busybox:no-such-tag",
        "lab/no-such-repository:1",
        &digest,
    ] {
        sandbox
            .udocker(["pull", &registry.reference(name)])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[name]);
    }
    sandbox.assert_empty();
}

#[test]
fn missing_platform_is_named() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    sandbox
        .udocker([
            "pull",
            "--platform=linux/s390x",
            &registry.reference(BUSYBOX),
        ])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["linux/s390x"]);
    let listed = sandbox.udocker(["images"]).run().succeeds();
    assert_eq!(listed.text().lines().count(), 1, "{listed:#?}");
}

#[test]
fn unreachable_registry_is_named() {
    let Some(registry) = empty_registry() else {
        return;
    };
    let host = registry.host();
    drop(registry);
    let sandbox = Sandbox::new();
    sandbox
        .udocker(["pull", &format!("http://{host}/lab/image:1")])
        .run()
        .exits_with(1)
        .errs_in_one_line(&[&host]);
    sandbox.assert_empty();
}

#[test]
fn unknown_image_or_container_is_named() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 9] = [
        &["run", "--pull=never", "no/such:1", "true"],
        &["create", "no/such:1"],
        &["rm", "no-such"],
        &["rmi", "no/such:1"],
        &["inspect", "no/such:1"],
        &["verify", "no/such:1"],
        &["protect", "no/such:1"],
        &["name", "no-such", "name"],
        &["rmname", "no-such"],
    ];
    for args in cases {
        let name = args.iter().find(|word| word.starts_with("no")).unwrap();
        let ran = sandbox.udocker(args).run();
        assert_ne!(ran.code(), 0, "{ran:#?}");
        ran.errs_in_one_line(&[&format!("'{name}'")]);
    }
    sandbox.assert_empty();
}

#[test]
fn invalid_volumes_are_refused() {
    let Some((sandbox, _)) = with_container() else {
        return;
    };
    sandbox.write("odd/a:/b/file", "x");
    let odd = sandbox.path("odd/a:/b").display().to_string();
    for volume in [
        "/no/such/file",
        "/no/such/file:/in",
        "relative:/in",
        "/tmp:relative",
        "/tmp:/in:rx",
        "/tmp:/",
        &odd,
        "",
    ] {
        let ran = sandbox.udocker(["run", "-v", volume, "box", "true"]).run();
        assert!(matches!(ran.code(), 2 | 125), "{volume:?}: {ran:#?}");
        ran.errs_in_one_line(&[]);
    }
}

#[test]
fn damaged_container_json_is_named() {
    let Some((sandbox, _)) = with_container() else {
        return;
    };
    let json = sandbox.store().join("containers/box/container.json");
    for damage in ["", "{", "[]", "\0\0\0", "{\"config\": 7}"] {
        fs::write(&json, damage).expect("a writable container");
        let ran = sandbox.udocker(["run", "box", "true"]).run();
        ran.exits_with(125).errs_in_one_line(&["container.json"]);
    }
    fs::remove_file(&json).expect("a writable container");
    sandbox
        .udocker(["run", "box", "true"])
        .run()
        .exits_with(125)
        .errs_in_one_line(&["container.json"]);
    // The container can still be listed and removed.
    sandbox.udocker(["ps"]).run().succeeds();
    sandbox.udocker(["rm", "box"]).run().succeeds();
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 7] = [
        &["no-such-command"],
        &["--no-such-option"],
        &["pull"],
        &["run"],
        &["run", "--no-such-option", "x"],
        &["run", "--user"],
        &["create", "a", "b"],
    ];
    for args in cases {
        let ran = sandbox.udocker(args).run();
        assert_eq!(ran.code(), 2, "{args:?}: {ran:#?}");
        ran.errs_in_one_line(&[]);
    }
    sandbox.assert_empty();
}
