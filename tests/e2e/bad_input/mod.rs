//! Bad input gets one clear line, a non-zero status, and leaves nothing behind.

mod host;
mod image;
mod registry;
mod words;

use std::path::{Path, PathBuf};

use crate::prepared::{BUSYBOX, storage};
use crate::support::image::ImageBuilder;
use crate::support::registry_server::{Auth, RegistryServer};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

/// A registry without images.
fn empty_registry() -> Option<RegistryServer> {
    has_tools(&["docker-registry", "skopeo"]).then(RegistryServer::plain)
}

/// A sandbox with the busybox image pulled and a container `box` made from it, and the image's
/// name.
fn with_container() -> Option<(Sandbox, String)> {
    let storage = storage()?;
    let registry = RegistryServer::over(&storage.path, Auth::None, false);
    let sandbox = Sandbox::new();
    let image = registry.reference(BUSYBOX);
    sandbox.udocker(["pull", &image]).run().succeeds();
    sandbox
        .udocker(["create", "--name=box", &image])
        .run()
        .succeeds();
    Some((sandbox, image))
}

/// Writes an image, pushes it under `name`, pulls it and returns its name.
fn pulled(
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

/// Asserts that the store holds nothing at all.
#[track_caller]
fn holds_nothing(sandbox: &Sandbox) {
    assert_eq!(sandbox.leftovers(), Vec::<PathBuf>::new());
}

/// Asserts that there is no container and no beginning of one.
#[track_caller]
fn holds_no_container(sandbox: &Sandbox) {
    let of_containers = |path: &PathBuf| path.starts_with(sandbox.store().join("containers"));
    let mut left = sandbox.leftovers();
    left.retain(|path| of_containers(path) || is_staging(path));
    assert_eq!(left, Vec::<PathBuf>::new());
}

fn is_staging(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str().to_string_lossy().ends_with(".staging"))
}
