//! Fixtures that are costly to make: made once, kept between test runs, and shared by concurrent
//! test processes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use udocker::oci::Digest;

use super::image::ImageBuilder;
use super::registry_server::{Auth, RegistryServer};
use super::requirement::{has_tools, skip};
use super::sandbox::{Invocation, Sandbox, Workplace, make_removable};

/// The name of the distribution image in the registry.
pub const DISTRO: &str = "lab/distro:1";
/// The name of the busybox image in the registry.
pub const BUSYBOX: &str = "lab/busybox:1";

/// A prepared directory; no process rebuilds it while this value lives.
pub struct Prepared {
    /// The directory that `build` filled.
    pub path: PathBuf,
    _users: File,
}

/// Returns the directory `name`, made by `build` unless one with the same `stamp` is there.
fn prepare(name: &str, stamp: &str, build: impl Fn(&Path)) -> Prepared {
    let uid = rustix::process::getuid().as_raw();
    let root = std::env::temp_dir().join(format!("udocker-e2e-{uid}"));
    fs::create_dir_all(&root).expect("a writable temporary directory");
    let (path, stamp_path) = (root.join(name), root.join(format!("{name}.stamp")));
    let is_current = || fs::read_to_string(&stamp_path).is_ok_and(|found| found == stamp);
    let open = |ending: &str| {
        File::create(root.join(format!("{name}.{ending}"))).expect("a writable temporary directory")
    };
    // A second lock for building, so that processes that find a current directory need not wait for
    // one another.
    let (users, builders) = (open("users"), open("builders"));
    loop {
        flock(&users, FlockOperation::LockShared).expect("a lock");
        if is_current() {
            return Prepared {
                path,
                _users: users,
            };
        }
        flock(&users, FlockOperation::Unlock).expect("a lock");
        flock(&builders, FlockOperation::LockExclusive).expect("a lock");
        if !is_current() {
            flock(&users, FlockOperation::LockExclusive).expect("a lock");
            let _ = fs::remove_file(&stamp_path);
            make_removable(&path);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a writable temporary directory");
            build(&path);
            fs::write(&stamp_path, stamp).expect("a writable temporary directory");
            flock(&users, FlockOperation::Unlock).expect("a lock");
        }
        flock(&builders, FlockOperation::Unlock).expect("a lock");
    }
}

/// The OCI layout of the distribution image, and a stamp that changes with it.
fn distro_layout() -> Option<(PathBuf, String)> {
    let images = std::env::var_os("UDOCKER_TEST_IMAGES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-images"),
        PathBuf::from,
    );
    let layout = images.join("distro");
    match fs::read_to_string(layout.join("index.json")) {
        Ok(index) => Some((layout, index)),
        Err(_) => {
            skip("no distribution image; scripts/make-test-image.sh makes it as root");
            None
        }
    }
}

/// The storage of a registry that holds [`DISTRO`] and [`BUSYBOX`].
pub fn storage() -> Option<Prepared> {
    let (layout, stamp) = distro_layout()?;
    if !has_tools(&["docker-registry", "skopeo", "htpasswd"]) {
        return None;
    }
    Some(prepare("registry", &stamp, |path| {
        let registry = RegistryServer::over(path, Auth::None, false);
        registry.push_layout(&layout, "latest", DISTRO);
        let busybox = tempfile::tempdir().expect("a temporary directory");
        ImageBuilder::busybox().write_layout(busybox.path(), "latest");
        registry.push_layout(busybox.path(), "latest", BUSYBOX);
    }))
}

/// A registry without images.
#[track_caller]
pub fn empty_registry() -> Option<RegistryServer> {
    has_tools(&["docker-registry", "skopeo"]).then(RegistryServer::plain)
}

/// A sandbox with the busybox image pulled, and the image's name.
pub fn with_busybox() -> Option<(Sandbox, String)> {
    let storage = storage()?;
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let image = registry.reference(BUSYBOX);
    let sandbox = Sandbox::new();
    sandbox.udocker(["pull", &image]).run().succeeds();
    Some((sandbox, image))
}

/// The same with a container `box` made from it.
pub fn with_container() -> Option<(Sandbox, String)> {
    let (sandbox, image) = with_busybox()?;
    sandbox
        .udocker(["create", "--name=box", &image])
        .run()
        .succeeds();
    Some((sandbox, image))
}

/// Writes an image, pushes it under `name`, pulls it and returns its name.
pub fn pulled(
    sandbox: &Sandbox,
    registry: &RegistryServer,
    name: &str,
    image: &ImageBuilder,
) -> String {
    let layout = image.write_layout(&sandbox.path(&format!("layout-{name}")), "latest");
    let image = registry.push_layout(&layout, "latest", &format!("lab/{name}:1"));
    sandbox.udocker(["pull", &image]).run().succeeds();
    image
}

/// The tree that umoci makes of the distribution image for an unprivileged user.
pub fn umoci_tree() -> Option<Prepared> {
    let (layout, stamp) = distro_layout()?;
    if !has_tools(&["umoci"]) {
        return None;
    }
    let mut tree = prepare("umoci", &stamp, |path| {
        let unpacked = Command::new("umoci")
            .args(["unpack", "--rootless", "--image"])
            .arg(format!("{}:latest", layout.display()))
            .arg(path.join("bundle"))
            .output()
            .expect("umoci is installed");
        assert!(unpacked.status.success(), "umoci: {unpacked:?}");
    });
    tree.path.push("bundle/rootfs");
    Some(tree)
}

/// The paths of the device nodes in the layers of the distribution image.
pub fn distro_devices() -> Vec<PathBuf> {
    let Some((layout, _)) = distro_layout() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for blob in fs::read_dir(layout.join("blobs/sha256")).expect("a layout") {
        let file = File::open(blob.expect("an entry").path()).expect("a readable blob");
        // Only layers are gzip files.
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let Ok(entries) = archive.entries() else {
            continue;
        };
        for entry in entries.map_while(Result::ok) {
            let kind = entry.header().entry_type();
            if kind.is_block_special() || kind.is_character_special() {
                found.push(entry.path().expect("a path").into_owned());
            }
        }
    }
    found
}

/// A store with the distribution image and a container `distro` made from it. Tests use the
/// container concurrently, so each writes only to paths of its own.
pub struct Distro {
    prepared: Prepared,
}

impl Distro {
    /// Pulls the image and creates the container, the first time, with the program under test.
    pub fn shared() -> Option<Distro> {
        let storage = storage()?;
        let (_, image) = distro_layout()?;
        let program = fs::metadata(env!("CARGO_BIN_EXE_udocker")).expect("the program");
        let stamp = format!(
            "{image} {} {} {}",
            program.len(),
            program.mtime(),
            program.mtime_nsec()
        );
        // Tests of another checkout have a store of their own instead of rebuilding this one.
        let checkout = Digest::of(env!("CARGO_MANIFEST_DIR").as_bytes());
        let name = format!("store-{}", &checkout.hex()[..12]);
        let prepared = prepare(&name, &stamp, |path| {
            let registry = RegistryServer::over(&storage.path, Auth::None, false);
            let image = registry.reference(DISTRO);
            let workplace = Sandbox::at(path);
            workplace.udocker(["pull", &image]).run().succeeds();
            workplace
                .udocker(["create", "--name=distro", &image])
                .run()
                .succeeds();
            fs::write(path.join("image"), image).expect("a writable directory");
        });
        Some(Distro { prepared })
    }

    /// The name of the image. Its registry does not run any more.
    pub fn image(&self) -> String {
        fs::read_to_string(self.prepared.path.join("image")).expect("written when it was prepared")
    }

    /// The workplace with the store.
    pub fn workplace(&self) -> Workplace<'_> {
        Sandbox::at(&self.prepared.path)
    }

    /// `run` with these options and this command in the container.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Invocation {
        let front = ["run", "--nobanner"];
        let args = front
            .iter()
            .chain(options)
            .chain(&["distro"])
            .chain(command);
        self.workplace().udocker(args)
    }

    /// `run` of a shell command without options.
    pub fn sh(&self, script: &str) -> Invocation {
        self.run(&[], &["/bin/sh", "-c", script])
    }
}
