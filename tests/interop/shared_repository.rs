//! A repository that udocker.py and this program use in turns, with every command that both have.

use std::fs;
use std::path::Path;

use crate::support::image::ImageBuilder;
use crate::support::layer_builder::LayerBuilder;
use crate::support::registry_server::RegistryServer;
use crate::support::requirement::{allowed_modes, has_tools};
use crate::support::sandbox::{Ran, Sandbox};
use crate::support::udocker_py::UdockerPy;

/// A sandbox, udocker.py, and a registry with `lab/busybox:1`.
struct Shared {
    sandbox: Sandbox,
    python: UdockerPy,
    registry: RegistryServer,
}

impl Shared {
    fn new() -> Option<Shared> {
        if !has_tools(&["docker-registry", "skopeo"]) {
            return None;
        }
        let shared = Shared {
            sandbox: Sandbox::new(),
            python: UdockerPy::find()?,
            registry: RegistryServer::plain(),
        };
        let layout = shared.sandbox.path("layout");
        let links = LayerBuilder::new().symlink("etc/absolute", "/etc/passwd");
        let image = ImageBuilder::busybox().layer(links.finish());
        image.write_layout(&layout, "latest");
        let _ = shared.registry.push_layout(&layout, "latest", IMAGE);
        // udocker.py uses the engine that `install` unpacks.
        shared.udocker("install").succeeds();
        Some(shared)
    }

    fn udocker(&self, command: &str) -> Ran {
        self.sandbox.udocker(command.split(' ')).run()
    }

    fn udocker_py(&self, command: &str) -> Ran {
        let words: Vec<&str> = command.split(' ').collect();
        self.python.run(&self.sandbox, &words)
    }

    fn pull(&self) -> String {
        format!("pull --registry={} {IMAGE}", self.registry.url())
    }
}

const IMAGE: &str = "lab/busybox:1";

/// One of the two programs.
type Actor = fn(&Shared, &str) -> Ran;

#[test]
fn udocker_continues_where_udocker_py_stopped() {
    continues(Shared::udocker_py, Shared::udocker);
}

#[test]
fn udocker_py_continues_where_udocker_stopped() {
    continues(Shared::udocker, Shared::udocker_py);
}

fn continues(first: Actor, second: Actor) {
    let Some(shared) = Shared::new() else { return };
    let first = |command: &str| first(&shared, command);
    let second = |command: &str| second(&shared, command);
    let shows = |command: &str, part: &str| {
        let ran = second(command).succeeds();
        assert!(ran.stdout.contains(part), "{command}: {ran:#?}");
    };

    // Images.
    first(&shared.pull()).succeeds();
    shows("images", "lab/busybox:1    .");
    shows("images -p", "linux/");
    shows("images -l", "/sha256:");
    shows(&format!("inspect {IMAGE}"), "/bin/sh");
    second(&format!("verify {IMAGE}")).succeeds();
    first(&format!("protect {IMAGE}")).succeeds();
    shows("images", "lab/busybox:1    P");
    second(&format!("rmi {IMAGE}")).exits_with(1);
    second(&format!("unprotect {IMAGE}")).succeeds();
    second(&format!("tag {IMAGE} lab/second:1")).succeeds();

    // Containers.
    let id = first(&format!("create --name=one {IMAGE}")).succeeds();
    let id = id.text();
    first("name one alias").succeeds();
    first("setup --execmode=P2 one").succeeds();
    // udocker.py lists names unsorted.
    shows("ps", "'alias'");
    shows("ps", "'one'");
    shows("ps -m", " P2 ");
    shows("inspect one", "/bin/sh");
    shows("inspect -p alias", &format!("{id}/ROOT"));
    shows("setup one", "execmode: P2");
    shows("-q run one echo from inside", "from inside");
    first("protect one").succeeds();
    shows("ps", &format!("{id} P W"));
    second("rm one").exits_with(1);
    second("unprotect alias").succeeds();
    second("rmname alias").succeeds();
    second("rename one uno").succeeds();
    let copy = first("clone --name=copy uno").succeeds();
    shows("-q run copy echo copied", "copied");
    // A container's directory may have any name.
    let containers = shared.sandbox.store().join("containers");
    fs::rename(containers.join(copy.text()), containers.join("box")).unwrap();
    second("rmname copy").succeeds();
    second("name box boxed").succeeds();
    shows("ps", "\nbox  ");
    shows("inspect -p boxed", "/box/ROOT");
    shows("-q run box echo boxed", "boxed");
    second("rm box").succeeds();
    second("rm uno").succeeds();
    for image in [IMAGE, "lab/second:1"] {
        second(&format!("rmi {image}")).succeeds();
    }
    assert_eq!(first("ps").succeeds().stdout.lines().count(), 1);
    assert_eq!(first("images").succeeds().stdout.lines().count(), 1);
    let blobs = fs::read_dir(shared.sandbox.store().join("layers")).unwrap();
    let blobs = blobs.flatten().map(|entry| entry.path());
    assert_eq!(
        blobs.filter(|path| path.is_file() && is_blob(path)).count(),
        0
    );
}

fn is_blob(path: &Path) -> bool {
    !path.file_name().unwrap().to_string_lossy().starts_with('.')
}

/// udocker.py prepares files inside for its modes R, and changes links and paths for its modes F.
#[test]
fn modes_set_up_by_udocker_py_are_run_or_refused_with_a_remedy() {
    let Some(shared) = Shared::new() else { return };
    shared.udocker_py(&shared.pull()).succeeds();
    shared
        .udocker_py(&format!("create --name=one {IMAGE}"))
        .succeeds();
    for mode in allowed_modes(&["R1", "P1", "R1"]) {
        let option = format!("setup --execmode={mode} one");
        shared.udocker_py(&option).succeeds();
        let ran = shared.udocker("-q run one cat /etc/passwd").succeeds();
        assert!(ran.stdout.starts_with("root:"), "{mode}: {ran:#?}");
    }
    shared.udocker("setup --purge one").succeeds();
    shared.udocker_py("setup --execmode=P1 one").succeeds();
    shared.udocker_py("setup --execmode=F1 one").succeeds();
    let refused = shared.udocker("-q run one true").exits_with(125);
    let way_back = "udocker.py setup --force --execmode=P1 ";
    refused.errs_in_one_line(&["changed inside by udocker.py", way_back]);
    shared
        .udocker("setup --execmode=P1 one")
        .exits_with(1)
        .errs_in_one_line(&["changed inside by udocker.py"]);
    let undone = shared.udocker_py("setup --force --execmode=P1 one");
    undone.succeeds();
    let ran = shared
        .udocker("-q run one readlink /etc/absolute")
        .succeeds();
    ran.prints("/etc/passwd");
}
