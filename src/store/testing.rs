//! Helpers for the tests of this module.

use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{Age, Container, ContainerName, Layout, Store};

/// An empty repository below `directory`.
pub(super) fn store(directory: &Path) -> Store {
    let store = Store::open(Layout::below(&directory.join("top")));
    store.ensure().unwrap();
    store
}

/// A container with an empty ROOT and the least metadata.
pub(super) fn create(store: &Store) -> Container {
    let staged = store.stage_container().unwrap();
    staged.write_metadata(b"{}", "busybox:latest").unwrap();
    store.publish_container(staged).unwrap()
}

/// A container whose directory was renamed to `id`.
pub(super) fn create_as(store: &Store, id: &str) -> Container {
    let made = create(store).directory;
    std::fs::rename(&made, made.with_file_name(id)).unwrap();
    store.container(id).unwrap()
}

/// Makes all files and directories below `directory` older by `age`.
pub(super) fn make_older(directory: &Path, age: Age) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            make_older(&entry.path(), age);
        }
        let then = entry.metadata().unwrap().modified().unwrap() - age.0;
        let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = Timespec {
            tv_sec: then.as_secs().try_into().unwrap(),
            tv_nsec: then.subsec_nanos().into(),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// A container's name.
pub(super) fn name(text: &str) -> ContainerName {
    text.parse().unwrap()
}
