//! Containers: `containers/<id>/`, and their names, links beside them.
//!
//! ```text
//! ROOT/            the root file system
//! container.json   the image's configuration as it was
//! imagerepo.name   <repository>:<tag>
//! execmode         the execution mode; absent means the default
//! PROTECT          empty: rm must refuse
//! attributes       owners, modes and devices that emulated root has made, see `rootfs`
//! ```
//!
//! A container is made in the staging folder and appears by one rename; it is removed the other
//! way round.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use rustix::fs::{Access, access};

use super::Store;
use super::error::StoreError;
use super::garbage::Age;
use super::images::set_marker;
use super::staging::{self, Slot};
use crate::host::fs::{self as host_fs, FsError, read_limited, write_atomic};
use crate::oci::ImageConfig;

const METADATA_MAX_BYTES: u64 = 32 << 20;

/// Longest file name Linux takes, in bytes.
const FILE_NAME_MAX_BYTES: usize = 255;

/// Why a text cannot be a container name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    #[error("a container name must not be empty")]
    Empty,
    /// A character that paths, listings or scripts would trip over.
    #[error(
        "container name '{0}' holds a character that names may not have: / . blank [ ] or a control character"
    )]
    Character(String),
    /// It would not fit a file name.
    #[error("the container name is longer than {FILE_NAME_MAX_BYTES} bytes")]
    TooLong,
    /// It would be taken for an id.
    #[error("container name '{0}' looks like a container id")]
    LooksLikeId(String),
}

/// The id of a container: lower-case letters and digits in five groups, a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Makes a new one.
    pub fn random() -> ContainerId {
        ContainerId(uuid::Uuid::new_v4().to_string())
    }

    /// Reads one. udocker.py's ids are UUIDs too, of another version.
    pub fn parse(text: &str) -> Option<ContainerId> {
        let is_word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let valid = text.split('-').count() == 5
            && text.split('-').all(is_word)
            && text.len() <= FILE_NAME_MAX_BYTES;
        valid.then(|| ContainerId(text.to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of a container: safe as a file name, and never to be taken for an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

impl ContainerName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ContainerName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.contains(['/', '.', ' ', '[', ']']) || text.chars().any(char::is_control) {
            return Err(NameError::Character(text.escape_debug().to_string()));
        }
        if text.len() > FILE_NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        if uuid::Uuid::try_parse(text).is_ok() {
            return Err(NameError::LooksLikeId(text.to_string()));
        }
        Ok(ContainerName(text.to_string()))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `ps` says about a container's ROOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootState {
    /// The user may write to it.
    Writable,
    /// The user may not.
    ReadOnly,
    /// It is not there.
    Missing,
    /// It is something else than a directory.
    NotDirectory,
}

/// A container in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its directory.
    pub directory: PathBuf,
    /// Its names, sorted.
    pub names: Vec<String>,
}

impl Store {
    /// Lists all containers with their names, oldest first.
    pub fn containers(&self) -> Vec<Container> {
        let Ok(entries) = fs::read_dir(&self.layout.containers) else {
            return Vec::new();
        };
        let mut containers: Vec<(SystemTime, Container)> = Vec::new();
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in entries.flatten() {
            let Ok(file_name) = entry.file_name().into_string() else {
                continue;
            };
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => {
                    if let Some(id) = link_target(&entry.path()) {
                        names.entry(id).or_default().push(file_name);
                    }
                }
                Ok(kind) if kind.is_dir() => {
                    if let Some(id) = ContainerId::parse(&file_name) {
                        let directory = entry.path();
                        let made = age_key(&directory);
                        let container = Container {
                            id,
                            directory,
                            names: Vec::new(),
                        };
                        containers.push((made, container));
                    }
                }
                _ => {}
            }
        }
        for (_, container) in &mut containers {
            container.names = names.remove(container.id.as_str()).unwrap_or_default();
            container.names.sort();
        }
        containers.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        containers
            .into_iter()
            .map(|(_, container)| container)
            .collect()
    }

    /// Finds a container by id or name.
    ///
    /// # Errors
    /// `StoreError::NoContainer`
    pub fn container(&self, text: &str) -> Result<Container, StoreError> {
        let missing = || StoreError::NoContainer(text.to_string());
        let is_plain = !text.is_empty() && !text.contains('/') && !text.starts_with('.');
        if !is_plain {
            return Err(missing());
        }
        let id = match link_target(&self.layout.containers.join(text)) {
            Some(target) => ContainerId::parse(&target),
            None => ContainerId::parse(text),
        }
        .ok_or_else(missing)?;
        let directory = self.layout.container(&id);
        if !directory.is_dir() {
            return Err(missing());
        }
        let names = self.names_of(&id);
        Ok(Container {
            id,
            directory,
            names,
        })
    }

    fn names_of(&self, id: &ContainerId) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.layout.containers) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
            .filter(|entry| link_target(&entry.path()).as_deref() == Some(id.as_str()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Gives a container a name.
    ///
    /// # Errors
    /// `StoreError::NameTaken` if a container has it; a link to nothing is replaced.
    pub fn add_name(&self, id: &ContainerId, name: &ContainerName) -> Result<(), StoreError> {
        let link = self.layout.containers.join(name.as_str());
        loop {
            match symlink(id.as_str(), &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if link.exists() || !link.is_symlink() {
                        return Err(StoreError::NameTaken(name.to_string()));
                    }
                    host_fs::remove_file(&link)?;
                }
                Err(error) => return Err(FsError::at("create", &link)(error).into()),
            }
        }
    }

    /// Whether a container has this name.
    pub fn has_name(&self, name: &ContainerName) -> bool {
        self.layout.containers.join(name.as_str()).exists()
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// `StoreError::NoName`
    pub fn remove_name(&self, name: &ContainerName) -> Result<(), StoreError> {
        let link = self.layout.containers.join(name.as_str());
        if !link.is_symlink() {
            return Err(StoreError::NoName(name.to_string()));
        }
        Ok(host_fs::remove_file(&link)?)
    }

    /// Replaces a name of a container by another one. For a moment it has both.
    ///
    /// # Errors
    /// `StoreError::NoName`, `StoreError::NameTaken`; nothing has changed then.
    pub fn rename_container(
        &self,
        old: &ContainerName,
        new: &ContainerName,
    ) -> Result<(), StoreError> {
        let link = self.layout.containers.join(old.as_str());
        let id = link_target(&link)
            .and_then(|target| ContainerId::parse(&target))
            .filter(|id| self.layout.container(id).is_dir())
            .ok_or_else(|| StoreError::NoName(old.to_string()))?;
        self.add_name(&id, new)?;
        Ok(host_fs::remove_file(&link)?)
    }

    /// Begins a container: an empty ROOT in the staging folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn stage_container(&self) -> Result<StagedContainer, StoreError> {
        let id = ContainerId::random();
        let slot = Slot::take(&self.layout.container_staging(), id.as_str())?;
        // Only the user may enter: images hold set-user-ID programs, and as files of this user
        // they would let everybody else act as him.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(slot.path())
            .map_err(FsError::at("create directory", slot.path()))?;
        let root = slot.path().join("ROOT");
        fs::create_dir(&root).map_err(FsError::at("create directory", &root))?;
        Ok(StagedContainer { id, slot })
    }

    /// Publishes a container that is whole.
    ///
    /// # Errors
    /// What the file system says.
    pub fn publish_container(&self, staged: StagedContainer) -> Result<Container, StoreError> {
        let directory = self.layout.container(&staged.id);
        host_fs::rename(staged.slot.path(), &directory)?;
        Ok(Container {
            id: staged.id,
            directory,
            names: Vec::new(),
        })
    }

    /// Takes a container out of the listing, names first, and hands its directory over for
    /// removal.
    ///
    /// # Errors
    /// `StoreError::Protected`; `NoContainer` if another process has taken it out already; what
    /// the file system says.
    pub fn retire_container(&self, container: &Container) -> Result<StagedContainer, StoreError> {
        if container.is_protected() {
            return Err(StoreError::Protected(container.id.to_string()));
        }
        let slot = Slot::take(&self.layout.container_staging(), container.id.as_str())?;
        for name in &container.names {
            host_fs::remove_file(&self.layout.containers.join(name))?;
        }
        host_fs::rename(&container.directory, slot.path()).map_err(|error| {
            // Another process was faster.
            if error.is_not_found() && !container.directory.exists() {
                StoreError::NoContainer(container.id.to_string())
            } else {
                error.into()
            }
        })?;
        Ok(StagedContainer {
            id: container.id.clone(),
            slot,
        })
    }

    /// What killed processes left in the staging folder, for removal; where another host may still
    /// be at work on it, only from `age` on.
    pub fn abandoned_containers(&self, age: Age) -> Vec<StagedContainer> {
        staging::abandoned(&self.layout.container_staging(), age)
            .into_iter()
            .filter_map(|slot| {
                let name = slot.path().file_name()?.to_str()?.to_string();
                Some(StagedContainer {
                    id: ContainerId(name),
                    slot,
                })
            })
            .collect()
    }
}

/// A container's directory outside the listing: not yet, or no longer, a container.
#[derive(Debug)]
pub struct StagedContainer {
    id: ContainerId,
    slot: Slot,
}

impl StagedContainer {
    /// The id it has or will have.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The whole directory.
    pub fn path(&self) -> &Path {
        self.slot.path()
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.slot.path().join("ROOT")
    }

    /// Writes what a container has beside its ROOT. `image` is `<repository>:<tag>`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_metadata(&self, config: &[u8], image: &str) -> Result<(), StoreError> {
        let at = |entry: &str| self.slot.path().join(entry);
        write_atomic(&at("container.json"), config, 0o644)?;
        write_atomic(&at("imagerepo.name"), image.as_bytes(), 0o644)?;
        Ok(())
    }
}

impl Container {
    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.directory.join("ROOT")
    }

    /// Whether `rm` has to refuse.
    pub fn is_protected(&self) -> bool {
        self.directory.join("PROTECT").exists()
    }

    /// Sets or takes away the protection.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_protected(&self, protected: bool) -> Result<(), StoreError> {
        set_marker(&self.directory.join("PROTECT"), protected)
    }

    /// The image it was made from, `<repository>:<tag>`; empty where that is not known.
    pub fn image(&self) -> String {
        self.text("imagerepo.name").unwrap_or_default()
    }

    /// The execution mode it was set up for; `None` means the default.
    pub fn execmode(&self) -> Option<String> {
        self.text("execmode").filter(|mode| !mode.is_empty())
    }

    /// Sets the execution mode.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_execmode(&self, mode: &str) -> Result<(), StoreError> {
        Ok(write_atomic(
            &self.entry("execmode"),
            mode.as_bytes(),
            0o644,
        )?)
    }

    /// Whether the host's NVIDIA libraries were put into it.
    pub fn is_nvidia(&self) -> bool {
        self.entry("nvidia").exists()
    }

    /// Marks that the host's NVIDIA libraries were put into it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_nvidia(&self) -> Result<(), StoreError> {
        set_marker(&self.entry("nvidia"), true)
    }

    /// The path of something that is kept beside ROOT.
    pub fn entry(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, entry: &str) -> Option<String> {
        let bytes = read_limited(&self.directory.join(entry), METADATA_MAX_BYTES).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_string())
    }

    /// Makes sure that nobody has removed the container meanwhile. Who removes one takes it out of
    /// the repository first; what was read before this is whole.
    ///
    /// # Errors
    /// `StoreError::NoContainer`
    pub fn ensure_present(&self) -> Result<(), StoreError> {
        if self.directory.exists() {
            Ok(())
        } else {
            Err(StoreError::NoContainer(self.id.to_string()))
        }
    }

    /// The image's configuration document.
    ///
    /// # Errors
    /// `StoreError::NoContainer` if the container has been removed; `DamagedContainer` if the
    /// document is missing or unreadable.
    pub fn config_bytes(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.directory.join("container.json");
        read_limited(&path, METADATA_MAX_BYTES).or_else(|error| {
            self.ensure_present()?;
            Err(self.damaged(&path, error.source.to_string()))
        })
    }

    /// The image's configuration.
    ///
    /// # Errors
    /// `StoreError::DamagedContainer` if it is missing or makes no sense.
    pub fn config(&self) -> Result<ImageConfig, StoreError> {
        let path = self.directory.join("container.json");
        ImageConfig::parse(&self.config_bytes()?)
            .map_err(|error| self.damaged(&path, error.to_string()))
    }

    fn damaged(&self, path: &Path, reason: String) -> StoreError {
        StoreError::DamagedContainer {
            container: self.id.to_string(),
            path: path.to_path_buf(),
            reason,
        }
    }

    /// What `ps` says about ROOT.
    pub fn root_state(&self) -> RootState {
        let root = self.root();
        match fs::metadata(&root) {
            Err(_) => RootState::Missing,
            Ok(meta) if !meta.is_dir() => RootState::NotDirectory,
            Ok(_) if access(&root, Access::WRITE_OK).is_ok() => RootState::Writable,
            Ok(_) => RootState::ReadOnly,
        }
    }
}

/// The last component of what a link points to.
fn link_target(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    target.file_name()?.to_str().map(str::to_string)
}

/// When a container was made, for the order of listings.
fn age_key(directory: &Path) -> SystemTime {
    fs::metadata(directory.join("imagerepo.name"))
        .map(|meta| {
            let nanos = u32::try_from(meta.mtime_nsec()).unwrap_or_default();
            let seconds = u64::try_from(meta.mtime()).unwrap_or_default();
            SystemTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanos)
        })
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Layout;

    fn store(directory: &Path) -> Store {
        let store = Store::open(Layout::below(&directory.join("top")));
        store.ensure().unwrap();
        store
    }

    fn create(store: &Store) -> Container {
        let staged = store.stage_container().unwrap();
        staged.write_metadata(b"{}", "busybox:latest").unwrap();
        store.publish_container(staged).unwrap()
    }

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    #[test]
    fn a_container_is_found_by_id_and_by_every_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        store.add_name(&id, &name("b")).unwrap();
        store.add_name(&id, &name("a")).unwrap();
        for text in [id.as_str(), "a", "b"] {
            let container = store.container(text).unwrap();
            assert_eq!(container.id, id);
            assert_eq!(container.names, ["a", "b"]);
            assert_eq!(container.image(), "busybox:latest");
        }
        assert_eq!(store.containers().len(), 1);
        assert!(matches!(
            store.add_name(&id, &name("a")),
            Err(StoreError::NameTaken(_))
        ));
        store.remove_name(&name("a")).unwrap();
        assert_eq!(store.container("b").unwrap().names, ["b"]);
    }

    #[test]
    fn a_name_is_replaced_or_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        store.add_name(&id, &name("old")).unwrap();
        store.add_name(&create(&store).id, &name("other")).unwrap();
        let rename = |old, new| store.rename_container(&name(old), &name(new));
        assert!(matches!(
            rename("old", "other"),
            Err(StoreError::NameTaken(_))
        ));
        assert!(matches!(
            rename("old", "old"),
            Err(StoreError::NameTaken(_))
        ));
        assert!(matches!(rename("x", "y"), Err(StoreError::NoName(_))));
        assert_eq!(store.container("old").unwrap().id, id);
        rename("old", "new").unwrap();
        assert_eq!(store.container("new").unwrap().names, ["new"]);
    }

    #[test]
    fn what_is_no_container_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for text in ["", ".", "..", "../containers", "x", "/etc", "a b"] {
            assert!(
                matches!(store.container(text), Err(StoreError::NoContainer(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn names_that_would_confuse_are_refused() {
        let id = ContainerId::random().to_string();
        for text in ["", "a/b", "..", "a b", "[x]", "a\nb", &id, &"x".repeat(256)] {
            assert!(text.parse::<ContainerName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_retired_container_is_gone_from_the_listing_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        store.add_name(&id, &name("n")).unwrap();
        let container = store.container("n").unwrap();
        let retired = store.retire_container(&container).unwrap();
        assert!(store.containers().is_empty());
        assert!(!store.has_name(&name("n")));
        assert!(retired.root().is_dir());
        // Who has it still, to copy it for one, learns that it is gone and not damaged.
        assert!(matches!(
            container.config_bytes(),
            Err(StoreError::NoContainer(_))
        ));
        // Somebody is at work on it, so nobody else may take it for a leftover.
        assert!(store.abandoned_containers(Age::DAY).is_empty());
        drop(retired);
        assert_eq!(store.abandoned_containers(Age::DAY).len(), 1);
        assert!(matches!(
            store.retire_container(&container),
            Err(StoreError::NoContainer(_))
        ));
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
