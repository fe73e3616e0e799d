//! `install`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::sandbox::Sandbox;

#[test]
fn install_unpacks_the_engine_and_replaces_a_damaged_one() {
    let sandbox = Sandbox::new();
    let bin = sandbox.store().join("bin");
    let engine = bin.join(format!("proot-{}", std::env::consts::ARCH));
    let install = |option: &[&str]| {
        let ran = sandbox.udocker([&["install"], option].concat()).run();
        let ran = ran.succeeds().prints("");
        assert_eq!(
            ran.stderr,
            format!("Info: engine ready: {}\n", engine.display())
        );
        fs::read(&engine).unwrap()
    };
    let content = install(&[]);
    assert!(content.starts_with(b"\x7fELF"));
    let mode = fs::metadata(&engine).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
    fs::remove_file(&engine).unwrap();
    fs::write(&engine, "damaged").unwrap();
    assert!(install(&[]) == content);
    let other = bin.join("other");
    fs::write(&other, "").unwrap();
    assert!(install(&["--force"]) == content && other.exists());
    assert!(install(&["--purge"]) == content && !other.exists());
}

#[test]
fn install_writes_the_version_that_installers_look_for() {
    let sandbox = Sandbox::new();
    let path = sandbox.store().join("lib/VERSION");
    let installed = |option: &[&str]| {
        sandbox
            .udocker([&["install"], option].concat())
            .run()
            .succeeds();
        fs::read_to_string(&path).unwrap()
    };
    let version = concat!(env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(installed(&[]), version);
    // That of udocker.py is kept.
    fs::write(&path, "1.2.11").unwrap();
    assert_eq!(installed(&["--force"]), "1.2.11");
    assert_eq!(installed(&["--purge"]), version);
}
