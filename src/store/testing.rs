//! What the tests of this module begin with.

use std::path::Path;

use super::{Container, ContainerName, Layout, Store};

/// An empty repository below `directory`.
pub(super) fn store(directory: &Path) -> Store {
    let store = Store::open(Layout::below(&directory.join("top")));
    store.ensure().unwrap();
    store
}

/// A container with the least that it needs.
pub(super) fn create(store: &Store) -> Container {
    let staged = store.stage_container().unwrap();
    staged.write_metadata(b"{}", "busybox:latest").unwrap();
    store.publish_container(staged).unwrap()
}

/// A container's name.
pub(super) fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}
