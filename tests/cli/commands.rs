//! What the commands print for scripts, and what they leave in the repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::image::ImageBuilder;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::prepared::{BUSYBOX, storage};
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

/// A sandbox with the busybox image pulled, and the image's name.
fn with_image() -> Option<(Sandbox, String)> {
    let storage = storage()?;
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(BUSYBOX);
    let sandbox = Sandbox::new();
    sandbox.udocker(["pull", &image]).run().succeeds();
    Some((sandbox, image))
}

/// Runs the program, which must succeed, and returns what it prints.
#[track_caller]
fn output(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.udocker(args).run().succeeds().text().to_string()
}

/// JSON as Python's `json.dumps(value, sort_keys=True, indent=4)` writes it.
fn four_blanks(value: &serde_json::Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, format);
    value.serialize(&mut serializer).expect("memory");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[test]
fn the_executable_needs_no_library() {
    let ldd = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_udocker"))
        .output()
        .expect("ldd is part of the C library");
    let said = [ldd.stdout, ldd.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "{said}"
    );
}

#[test]
fn listings_look_as_scripts_expect() {
    let Some((sandbox, image)) = with_image() else {
        return;
    };
    let name = image.trim_start_matches("http://");
    let images = output(&sandbox, &["images"]);
    assert_eq!(images, format!("REPOSITORY\n{name}    ."));
    let id = output(&sandbox, &["create", "--name=box", &image]);
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    let listed = output(&sandbox, &["ps"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["CONTAINER", "ID", "P", "M", "NAMES", "IMAGE"]
    );
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>(),
        [&id, ".", "W", "['box']", name]
    );
    let inspected = output(&sandbox, &["inspect", "box"]);
    let value: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    assert_eq!(inspected, four_blanks(&value));
    assert_eq!(
        output(&sandbox, &["inspect", "-p", &id]),
        sandbox
            .store()
            .join("containers")
            .join(&id)
            .join("ROOT")
            .display()
            .to_string()
    );
    let version = output(&sandbox, &["version"]);
    assert!(version.starts_with("version: "), "{version}");
    assert!(output(&sandbox, &["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_protected_stays() {
    let Some((sandbox, image)) = with_image() else {
        return;
    };
    output(&sandbox, &["create", "--name=box", &image]);
    for (protected, remove) in [("box", "rm"), (image.as_str(), "rmi")] {
        output(&sandbox, &["protect", protected]);
        let ran = sandbox.udocker([remove, protected]).run().exits_with(1);
        ran.errs_in_one_line(&["protected"]);
        output(&sandbox, &["unprotect", protected]);
        output(&sandbox, &[remove, protected]);
    }
    assert_eq!(sandbox.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn names_come_and_go() {
    let Some((sandbox, image)) = with_image() else {
        return;
    };
    let id = output(&sandbox, &["create", &image]);
    output(&sandbox, &["name", &id, "first"]);
    output(&sandbox, &["name", &id, "second"]);
    let listed = output(&sandbox, &["ps"]);
    assert!(
        listed.contains("'first'") && listed.contains("'second'"),
        "{listed}"
    );
    output(&sandbox, &["rmname", "first"]);
    let listed = output(&sandbox, &["ps"]);
    assert!(
        !listed.contains("'first'") && listed.contains("['second']"),
        "{listed}"
    );
    output(&sandbox, &["rm", "second"]);
    assert!(!sandbox.store().join("containers/second").exists());
}

#[test]
fn run_makes_containers_of_images() {
    let Some(storage) = storage() else { return };
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(BUSYBOX);
    let sandbox = Sandbox::new();
    let containers = || output(&sandbox, &["-q", "ps"]).lines().count();
    let echo = |options: &[&str]| {
        let args = [&["run", "--nobanner"], options, &[&image, "echo", "here"]].concat();
        assert_eq!(output(&sandbox, &args), "here");
    };
    sandbox
        .udocker(["run", "--pull=never", &image, "true"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&[&format!("'{image}'")]);
    let before = containers();
    echo(&["--rm"]);
    assert_eq!(containers(), before);
    echo(&[]);
    assert_eq!(containers(), before + 1);
    echo(&["--name=kept", "--pull=reuse"]);
    echo(&["--name=kept", "--pull=reuse"]);
    assert_eq!(containers(), before + 2);
    // Jobs of an array that begin at once.
    let words = ["run", "--name=array", "--pull=reuse", &image, "true"];
    let jobs = [(); 6].map(|()| sandbox.udocker(words).spawn());
    for job in jobs {
        assert!(job.wait().success());
    }
    assert_eq!(containers(), before + 3);
}

#[test]
fn trees_are_removed_whatever_their_modes() {
    if !has_tools(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = RegistryServer::plain();
    let sandbox = Sandbox::new();
    let closed = LayerBuilder::new()
        .entry(TarEntry::new(b'5', "closed/").mode(0))
        .entry(TarEntry::new(b'0', "closed/file").mode(0).content("x"))
        .finish();
    let image = ImageBuilder::busybox().layer(closed);
    let layout = image.write_layout(&sandbox.path("layout"), "latest");
    let image = registry.push_layout(&layout, "latest", "lab/closed:1");
    output(&sandbox, &["pull", &image]);
    output(&sandbox, &["create", "--name=box", &image]);
    let script = "cat /closed/file; mkdir -p /a/b/c; chmod 0 /a/b/c /a/b /a /closed; chmod 555 /";
    let printed = output(&sandbox, &["run", "--nobanner", "box", "sh", "-c", script]);
    assert_eq!(printed, "x");
    output(&sandbox, &["rm", "box"]);
    let blobs = sandbox.store().join("layers");
    let set_mode = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    };
    for blob in fs::read_dir(&blobs).expect("a store").flatten() {
        if blob.file_name().to_string_lossy().starts_with("sha256:") {
            set_mode(&blob.path(), 0o400);
        }
    }
    output(&sandbox, &["rmi", &image]);
    assert_eq!(sandbox.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn repositories_and_the_engine_are_made_on_demand() {
    let sandbox = Sandbox::new();
    let place = sandbox.path("elsewhere").display().to_string();
    output(&sandbox, &["mkrepo", &place]);
    assert!(Path::new(&place).join("containers").is_dir());
    let repo = format!("--repo={place}");
    assert_eq!(output(&sandbox, &[&repo, "images"]), "REPOSITORY");
    for _ in 0..2 {
        output(&sandbox, &[&repo, "install"]);
    }
    let bin = fs::read_dir(Path::new(&place).join("bin")).expect("bin");
    let names: Vec<_> = bin.flatten().map(|entry| entry.file_name()).collect();
    let engine = format!("proot-{}", std::env::consts::ARCH);
    assert!(
        names.iter().any(|name| name == engine.as_str()),
        "{names:?}"
    );
    assert!(!sandbox.store().exists());
}

#[test]
fn help_is_there_for_every_command() {
    let sandbox = Sandbox::new();
    let all = output(&sandbox, &["help"]);
    assert_eq!(output(&sandbox, &[]), all);
    assert_eq!(output(&sandbox, &["--help"]), all);
    let commands = "pull images create ps run inspect verify rm rmi name rmname protect unprotect \
        mkrepo install version search manifest setup login logout showconf";
    for command in commands.split_whitespace() {
        assert!(all.contains(&format!("\n  {command} ")), "{command}: {all}");
        let help = output(&sandbox, &["help", command]);
        assert!(help.contains("Usage: udocker"), "{help}");
        assert_eq!(output(&sandbox, &[command, "--help"]), help);
    }
}
