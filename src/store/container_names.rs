//! Ids and names of containers, and the links that give names.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::str::FromStr;

use super::Store;
use super::error::StoreError;
use super::layout::is_of_file_system;
use super::links::link_target;
use crate::host::fs::{self as host_fs, FsError};
use crate::host::unique::unique_name;

/// The longest file name in Linux, in bytes.
const FILE_NAME_MAX_BYTES: usize = 255;

/// The most names that lead to each other. Linux follows as many links.
const MAX_LINKS: usize = 40;

/// Why a text cannot be a container name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    #[error("a container name must not be empty")]
    Empty,
    /// It has a character that would be special in paths, listings or scripts.
    #[error(
        "container name '{0}' holds a character that names may not have: / . blank [ ] or a control character"
    )]
    Character(String),
    /// It is longer than a file name can be.
    #[error("the container name is longer than {FILE_NAME_MAX_BYTES} bytes")]
    TooLong,
    /// It could be taken for an id.
    #[error("container name '{0}' looks like a container id")]
    LooksLikeId(String),
}

/// The id of a container, which is the name of its directory: a UUID, or whatever the user has
/// called a directory that was copied or renamed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Makes a new id.
    pub fn random() -> ContainerId {
        ContainerId(unique_name())
    }

    /// Parses an id: a file name that is neither hidden nor the file system's.
    pub fn parse(text: &str) -> Option<ContainerId> {
        let is_valid = !text.is_empty()
            && text.len() <= FILE_NAME_MAX_BYTES
            && !text.contains('/')
            && !text.contains(char::is_control)
            && !is_of_file_system(text.as_ref());
        is_valid.then(|| ContainerId(text.to_string()))
    }

    /// Whether it is a UUID, which no two containers ever get. udocker.py's ids are UUIDs too, of
    /// another version.
    pub(super) fn is_unique(&self) -> bool {
        uuid::Uuid::try_parse(&self.0).is_ok_and(|uuid| uuid.to_string() == self.0)
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

/// A name of a container: safe as a file name, and never a UUID.
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

impl Store {
    pub(super) fn names_of(&self, id: &ContainerId) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.layout.containers) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
            .filter(|entry| named_id(&entry.path()).as_deref() == Some(id.as_str()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Removes all names of a container that is gone. A name that cannot be removed leads nowhere,
    /// and is replaced when another container gets it.
    pub(super) fn forget_names(&self, id: &ContainerId) {
        let names = self.names_of(id).into_iter();
        // A name may lead to another one that is removed before it, so all are followed first.
        let links: Vec<_> = names
            .filter_map(|name| {
                let link = self.layout.containers.join(name);
                let target = link_target(&link).ok()??;
                (named_id(&link).as_deref() == Some(id.as_str())).then_some((link, target))
            })
            .collect();
        for (link, target) in links {
            // Another process may have given it to a new container since it was listed.
            if link_target(&link).is_ok_and(|current| current == Some(target)) {
                let _ = fs::remove_file(link);
            }
        }
    }

    /// Gives a container a name.
    ///
    /// # Errors
    /// `StoreError::NameTaken` if a container has it (a dangling link is replaced); `Fs` if the
    /// link cannot be created.
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

    /// Whether a container has this name or id.
    pub fn has_name(&self, name: &ContainerName) -> bool {
        self.layout.containers.join(name.as_str()).exists()
    }

    /// Removes a name.
    ///
    /// # Errors
    /// `StoreError::NoName` if no container has it; `Fs` if the link cannot be removed.
    pub fn remove_name(&self, name: &ContainerName) -> Result<(), StoreError> {
        let link = self.layout.containers.join(name.as_str());
        if !link.is_symlink() {
            return Err(StoreError::NoName(name.to_string()));
        }
        Ok(host_fs::remove_file(&link)?)
    }

    /// Replaces a name of a container by another one. For a moment the container has both.
    ///
    /// # Errors
    /// `StoreError::NoName` or `NameTaken`, and nothing has changed; `Fs` if a link cannot be
    /// created or removed.
    pub fn rename_container(
        &self,
        old: &ContainerName,
        new: &ContainerName,
    ) -> Result<(), StoreError> {
        let link = self.layout.containers.join(old.as_str());
        let id = named_id(&link)
            .and_then(|target| ContainerId::parse(&target))
            .filter(|id| self.has_container(id))
            .ok_or_else(|| StoreError::NoName(old.to_string()))?;
        self.add_name(&id, new)?;
        Ok(host_fs::remove_file(&link)?)
    }
}

/// The id of the container that a name leads to, perhaps by way of other names; `None` if `link` is
/// no link, or stands for a container with the same id in another place.
pub(super) fn named_id(link: &Path) -> Option<String> {
    let mut target = link_target(link).ok()??;
    let is_name = link.file_name() != Some(&target);
    for _ in 0..MAX_LINKS {
        match link_target(&link.with_file_name(&target)) {
            Ok(Some(next)) if next != target => target = next,
            _ => break,
        }
    }
    is_name.then(|| target.into_string().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Container;
    use crate::store::testing::{create, create_as, name, store};

    #[test]
    fn rename_replaces_the_name_or_changes_nothing() {
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
    fn a_container_elsewhere_does_not_get_lost_by_a_rename() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let Container {
            id,
            directory: here,
            ..
        } = create_as(&store, "box");
        let elsewhere = directory.path().join("box");
        fs::rename(&here, &elsewhere).unwrap();
        symlink(&elsewhere, &here).unwrap();
        store.add_name(&id, &name("old")).unwrap();
        assert!(matches!(
            store.rename_container(&name("box"), &name("new")),
            Err(StoreError::NoName(_))
        ));
        store.rename_container(&name("old"), &name("new")).unwrap();
        assert_eq!(store.container("new").unwrap().names, ["new"]);
    }

    #[test]
    fn a_name_may_lead_to_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create(&store).id;
        store.add_name(&id, &name("box")).unwrap();
        let containers = &store.layout().containers;
        symlink("box", containers.join("alias")).unwrap();
        symlink(containers.join("alias"), containers.join("more")).unwrap();
        for name in ["box", "alias", "more"] {
            assert_eq!(store.container(name).unwrap().id, id, "{name}");
        }
        let names = store.container("box").unwrap().names;
        assert_eq!(names, ["alias", "box", "more"]);
        store
            .rename_container(&name("alias"), &name("new"))
            .unwrap();
        assert_eq!(store.container("new").unwrap().id, id);
        symlink("new", containers.join("outer")).unwrap();
        store.forget_names(&id);
        let is_link = |name: &&str| containers.join(name).is_symlink();
        assert!(!["box", "new", "outer"].iter().any(is_link));
        symlink("loop", containers.join("loop2")).unwrap();
        symlink("loop2", containers.join("loop")).unwrap();
        assert!(store.container("loop").is_err());
    }

    #[test]
    fn ids_are_file_names_and_only_uuids_are_unique() {
        let long = "x".repeat(256);
        for text in [
            "",
            ".",
            "..",
            ".staging",
            "a/b",
            "/a",
            "a\nb",
            "a\u{1b}[m",
            "lost+found",
            &long,
        ] {
            assert_eq!(ContainerId::parse(text), None, "{text:?}");
        }
        let random = ContainerId::random();
        let upper = random.as_str().to_uppercase();
        for text in ["mybox", "my.box", "a b", "a-b-c-d-e", &upper, &long[1..]] {
            assert!(!ContainerId::parse(text).unwrap().is_unique(), "{text:?}");
        }
        assert!(random.is_unique());
        assert_eq!(ContainerId::parse(random.as_str()), Some(random));
    }

    #[test]
    fn names_that_could_be_taken_for_paths_or_ids_are_refused() {
        let id = ContainerId::random().to_string();
        for text in ["", "a/b", "..", "a b", "[x]", "a\nb", &id, &"x".repeat(256)] {
            assert!(text.parse::<ContainerName>().is_err(), "{text:?}");
        }
    }
}
