//! A user with udocker in PATH, and a default registry on loopback.

use std::path::Path;

use crate::support::image::ImageBuilder;
use crate::support::registry_server::RegistryServer;
use crate::support::requirement::has_tools;
use crate::support::sandbox::{Ran, Sandbox};

/// The image that the registry holds.
pub const IMAGE: &str = "lab/busybox:1";

pub struct Place {
    pub sandbox: Sandbox,
    registry: RegistryServer,
}

impl Place {
    /// A registry with [`IMAGE`], and a home without anything; `None` where servers are missing.
    pub fn new() -> Option<Place> {
        if !has_tools(&["docker-registry", "skopeo", "bash"]) {
            return None;
        }
        let place = Place {
            sandbox: Sandbox::new(),
            registry: RegistryServer::plain(),
        };
        let layout = place.sandbox.path("layout");
        ImageBuilder::busybox().write_layout(&layout, "latest");
        place.push(&layout, IMAGE);
        Some(place)
    }

    /// Puts the image of an OCI layout into the registry.
    pub fn push(&self, layout: &Path, name: &str) {
        let _ = self.registry.push_layout(layout, "latest", name);
    }

    /// Runs a script of bash, which ends at the first command that fails.
    pub fn bash(&self, script: &str) -> Ran {
        let path = format!("{}:/usr/bin:/bin", self.sandbox.path("bin").display());
        self.sandbox
            .udocker([""; 0])
            .env("PATH", path)
            .env("UDOCKER_REGISTRY", self.registry.url())
            .through(&["bash", "-ec", script])
            .run()
    }
}
