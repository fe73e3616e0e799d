//! Containers being created or removed: one is completed before it is listed, and taken out of the
//! listing before its files are removed.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Store;
use super::container_names::ContainerId;
use super::containers::Container;
use super::error::StoreError;
use super::garbage::Age;
use super::staging::{self, Slot};
use crate::host::fs::{self as host_fs, FsError, write_atomic};

impl Store {
    /// Begins a container: an empty ROOT in the staging directory.
    ///
    /// # Errors
    /// `StoreError::Fs` if the directory or its lock file cannot be created.
    pub fn stage_container(&self) -> Result<StagedContainer, StoreError> {
        let id = ContainerId::random();
        let slot = Slot::take(&self.layout.container_staging(), id.as_str())?;
        // Only the user may enter: images have set-user-ID programs, which would let all other
        // users act as this one.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(slot.path())
            .map_err(FsError::at("create directory", slot.path()))?;
        let root = slot.path().join("ROOT");
        fs::create_dir(&root).map_err(FsError::at("create directory", &root))?;
        Ok(StagedContainer { id, slot })
    }

    /// Publishes a complete container.
    ///
    /// # Errors
    /// `StoreError::Fs` if its directory cannot be renamed.
    pub fn publish_container(&self, staged: StagedContainer) -> Result<Container, StoreError> {
        let directory = self.layout.container(&staged.id);
        host_fs::rename(staged.slot.path(), &directory)?;
        Ok(Container {
            id: staged.id,
            directory,
            names: Vec::new(),
        })
    }

    /// Takes a container and then its names out of the listing, and returns its directory, to be
    /// removed. Where its directory cannot be renamed, it stays listed until it is removed.
    ///
    /// # Errors
    /// `StoreError::Protected`; `NoContainer` if another process has taken it out already; `Fs` if
    /// the directory cannot be renamed or the lock file not created.
    pub fn retire_container(&self, container: &Container) -> Result<StagedContainer, StoreError> {
        if container.is_protected() {
            return Err(StoreError::Protected(container.id.to_string()));
        }
        // Another id may have been used before, by a container that is still being removed.
        let staged_as = match container.id.is_unique() {
            true => container.id.clone(),
            false => ContainerId::random(),
        };
        let slot = Slot::take(&self.layout.container_staging(), staged_as.as_str())?;
        let slot = match host_fs::rename(&container.directory, slot.path()) {
            Ok(()) => slot,
            // Another process has taken it out.
            Err(error) if error.is_not_found() && !container.directory.exists() => {
                return Err(StoreError::NoContainer(container.id.to_string()));
            }
            // An overlay file system returns this for directories of its lower layers.
            Err(error) if error.crosses_devices() => slot.at(&container.directory),
            Err(error) => return Err(error.into()),
        };
        self.forget_names(&container.id);
        Ok(StagedContainer {
            id: container.id.clone(),
            slot,
        })
    }

    /// Returns the directories that killed processes have left in the staging directory, to be
    /// removed, and removes their names. A directory that another host may still be working on is
    /// returned only if it is as old as `age`.
    pub fn abandoned_containers(&self, age: Age) -> Vec<StagedContainer> {
        staging::abandoned(&self.layout.container_staging(), age)
            .into_iter()
            .filter_map(|slot| {
                let id = ContainerId::parse(slot.path().file_name()?.to_str()?)
                    .filter(ContainerId::is_unique)?;
                self.forget_names(&id);
                Some(StagedContainer { id, slot })
            })
            .collect()
    }
}

/// The directory of a container that is not listed yet, or no longer.
#[derive(Debug)]
pub struct StagedContainer {
    id: ContainerId,
    slot: Slot,
}

impl StagedContainer {
    /// The directory in `slot`.
    pub(super) fn new(id: ContainerId, slot: Slot) -> StagedContainer {
        StagedContainer { id, slot }
    }

    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.slot.path()
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.slot.path().join("ROOT")
    }

    /// Writes the files that a container has beside its ROOT. `image` is `<repository>:<tag>`.
    ///
    /// # Errors
    /// `StoreError::Fs` if a file cannot be written.
    pub fn write_metadata(&self, config: &[u8], image: &str) -> Result<(), StoreError> {
        let at = |entry: &str| self.slot.path().join(entry);
        write_atomic(&at("container.json"), config, 0o644)?;
        write_atomic(&at("imagerepo.name"), image.as_bytes(), 0o644)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{create, create_as, name, store};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn retired_container_disappears_from_the_listing() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        store.add_name(&id, &name("n")).unwrap();
        let container = store.container("n").unwrap();
        let retired = store.retire_container(&container).unwrap();
        assert!(store.containers().is_empty());
        assert!(!store.has_name(&name("n")));
        assert!(retired.root().is_dir());
        // A process that still has it, such as a clone, learns that it is gone and not damaged.
        assert!(matches!(
            container.config_bytes(),
            Err(StoreError::NoContainer(_))
        ));
        // It is being removed, so it is no leftover.
        assert!(store.abandoned_containers(Age::DAY).is_empty());
        drop(retired);
        assert_eq!(store.abandoned_containers(Age::DAY).len(), 1);
        assert!(matches!(
            store.retire_container(&container),
            Err(StoreError::NoContainer(_))
        ));
    }

    #[test]
    fn name_reassigned_to_another_container_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        for text in ["given", "kept"] {
            store.add_name(&id, &name(text)).unwrap();
        }
        let container = store.container("kept").unwrap();
        store.remove_name(&name("given")).unwrap();
        let other = create(&store).id;
        store.add_name(&other, &name("given")).unwrap();
        drop(store.retire_container(&container).unwrap());
        assert!(!store.has_name(&name("kept")));
        // A process that has found the container earlier comes too late.
        store.add_name(&other, &name("kept")).unwrap();
        assert!(store.retire_container(&container).is_err());
        assert_eq!(store.container("kept").unwrap().names, ["given", "kept"]);
    }

    #[test]
    fn an_id_can_be_used_again_while_its_container_is_being_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for _ in 0..2 {
            let container = create_as(&store, "box");
            store.add_name(&container.id, &name("n")).unwrap();
            // As left by a process that was killed.
            drop(store.retire_container(&container).unwrap());
            assert!(!store.has_name(&name("n")));
        }
        assert_eq!(store.abandoned_containers(Age::DAY).len(), 2);
        // What else there is in the staging directory is left alone.
        let other = create_as(&store, "box");
        store.add_name(&other.id, &name("n")).unwrap();
        fs::create_dir(store.layout.container_staging().join("box")).unwrap();
        let now = Age(std::time::Duration::ZERO);
        assert_eq!(store.abandoned_containers(now).len(), 2);
        assert!(store.has_name(&name("n")));
    }

    #[test]
    fn a_protected_container_is_not_retired() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let container = create(&store);
        container.set_protected(true).unwrap();
        assert!(matches!(
            store.retire_container(&container),
            Err(StoreError::Protected(_))
        ));
    }

    #[test]
    fn other_users_cannot_enter_a_container() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let mode = fs::metadata(create(&store).directory).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
