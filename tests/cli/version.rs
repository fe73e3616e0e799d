//! `version`.

use serde_json::Value;

use crate::support::sandbox::Sandbox;

#[test]
fn version_prints_the_three_lines_that_scripts_read() {
    let sandbox = Sandbox::new();
    let printed = sandbox.udocker(["version"]).run().succeeds();
    let lines: Vec<&str> = printed.stdout.lines().collect();
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines[..2], [&*version, "tarball: embedded"]);
    assert!(
        lines[2].starts_with("tarball_release: proot-"),
        "{printed:#?}"
    );
    assert_eq!(lines.len(), 3);
    let option = sandbox.udocker(["--version"]).run().succeeds();
    option.prints(printed.text());
    assert!(!sandbox.store().exists());
}

#[test]
fn version_names_engine_and_libraries_in_json() {
    let sandbox = Sandbox::new();
    let printed = sandbox.udocker(["version", "--json"]).run().succeeds();
    let facts: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
    let parts = facts["embedded"].as_array().unwrap();
    for name in ["proot", "glibc"] {
        let part = parts.iter().find(|part| part["name"] == name);
        let part = part.unwrap_or_else(|| panic!("no {name} in {facts:#}"));
        assert!(!part["version"].as_str().unwrap().is_empty(), "{part}");
        assert!(!part["licence"].as_str().unwrap().is_empty(), "{part}");
    }
}
