//! Containers: `containers/<id>/`. Their names are links beside them (see `container_names`).
//! Programs choose UUIDs as ids; users may rename a container's directory, or copy one to there.
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
//! A container is created in the staging directory and appears by one rename. It is removed in the
//! reverse order (see `container_staging`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, access};

use super::Store;
use super::container_names::{ContainerId, named_id};
use super::error::StoreError;
use super::layout::ROOT;
use super::links::set_marker;
use crate::host::fs::{read_limited, write_atomic};
use crate::oci::{CONFIG_MAX_BYTES, ImageConfig};

/// Largest text file beside ROOT that is read, such as the one with the image's name.
const TEXT_MAX_BYTES: u64 = 64 << 10;

/// The parts of a container of which a directory has at least one, to be a container.
const PARTS: [&str; 3] = [ROOT, "container.json", "imagerepo.name"];

/// The state of a container's ROOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootState {
    /// The user may write to it.
    Writable,
    /// The user may not write to it.
    ReadOnly,
    /// There is no ROOT.
    Missing,
    /// It is not a directory.
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
                    if let Some(id) = named_id(&entry.path()) {
                        names.entry(id).or_default().push(file_name);
                    }
                }
                Ok(kind) if kind.is_dir() => {
                    let id = ContainerId::parse(&file_name);
                    if let Some(id) = id.filter(|id| self.has_container(id)) {
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
        let id = match named_id(&self.layout.containers.join(text)) {
            Some(target) => ContainerId::parse(&target),
            None => ContainerId::parse(text),
        }
        .filter(|id| self.has_container(id))
        .ok_or_else(missing)?;
        Ok(Container {
            directory: self.layout.container(&id),
            names: self.names_of(&id),
            id,
        })
    }

    /// Whether there is a container with this id. A UUID is enough: a killed removal by udocker.py
    /// can leave an empty directory, which has to be listed to be removed. A directory that a user
    /// has named may be anything, so it must have a part of a container, or be closed to this user.
    pub(super) fn has_container(&self, id: &ContainerId) -> bool {
        let directory = self.layout.container(id);
        let has = |part: &str| directory.join(part).try_exists().unwrap_or(true);
        directory.is_dir() && (id.is_unique() || PARTS.into_iter().any(has))
    }
}

impl Container {
    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.directory.join("ROOT")
    }

    /// Whether `rm` has to refuse.
    pub fn is_protected(&self) -> bool {
        self.directory.join("PROTECT").is_file()
    }

    /// Sets or removes the protection.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file `PROTECT` cannot be created or removed.
    pub fn set_protected(&self, protected: bool) -> Result<(), StoreError> {
        Ok(set_marker(&self.directory.join("PROTECT"), protected)?)
    }

    /// The image it was created from, `<repository>:<tag>`; empty if that is not known.
    pub fn image(&self) -> String {
        self.text("imagerepo.name").unwrap_or_default()
    }

    /// The execution mode that `setup` has set; `None` means the default.
    pub fn execmode(&self) -> Option<String> {
        self.text("execmode").filter(|mode| !mode.is_empty())
    }

    /// Sets the execution mode.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file `execmode` cannot be written.
    pub fn set_execmode(&self, mode: &str) -> Result<(), StoreError> {
        Ok(write_atomic(
            &self.entry("execmode"),
            mode.as_bytes(),
            0o644,
        )?)
    }

    /// Whether the host's NVIDIA libraries have been copied into it.
    pub fn is_nvidia(&self) -> bool {
        self.entry("nvidia").exists()
    }

    /// Marks that the host's NVIDIA libraries have been copied into it.
    ///
    /// # Errors
    /// `StoreError::Fs` if the file `nvidia` cannot be created.
    pub fn set_nvidia(&self) -> Result<(), StoreError> {
        Ok(set_marker(&self.entry("nvidia"), true)?)
    }

    /// The path of a file or directory beside ROOT.
    pub fn entry(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, entry: &str) -> Option<String> {
        let bytes = read_limited(&self.directory.join(entry), TEXT_MAX_BYTES).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_string())
    }

    /// Makes sure that no other process has begun to remove the container. A container is renamed
    /// before its files are removed, so all files that were read before this call are complete.
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
        read_limited(&path, CONFIG_MAX_BYTES).or_else(|error| {
            self.ensure_present()?;
            Err(self.damaged(&path, error.source.to_string()))
        })
    }

    /// The image's configuration.
    ///
    /// # Errors
    /// As [`Container::config_bytes`]; `DamagedContainer` if the document cannot be parsed.
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

    /// The state of ROOT for `ps`.
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

/// When a container was created, for the order of listings.
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
    use crate::store::testing::{create, create_as, name, store};
    use std::os::unix::fs::{PermissionsExt, symlink};

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
    fn a_directory_of_any_name_is_a_container_if_it_has_a_part_of_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let id = create_as(&store, "box").id;
        store.add_name(&id, &name("a")).unwrap();
        let at = |name: &str| store.layout.containers.join(name);
        for (name, part) in [
            ("1", "ROOT"),
            ("2", "container.json/"),
            ("3", "imagerepo.name"),
        ] {
            fs::create_dir_all(at(name).join(part)).unwrap();
        }
        fs::create_dir(at("closed")).unwrap();
        fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        // What a killed removal by udocker.py leaves has to be listed, to be removed.
        let left = ContainerId::random();
        fs::create_dir(at(left.as_str())).unwrap();
        // None of these is one, whatever it has.
        fs::create_dir(at("other")).unwrap();
        for name in [".hidden", "lost+found", "a\nb"] {
            fs::create_dir_all(at(name).join("ROOT")).unwrap();
        }
        let listed = store.containers();
        let mut ids: Vec<&str> = listed.iter().map(|one| one.id.as_str()).collect();
        let mut expected = ["1", "2", "3", "box", "closed", left.as_str()];
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        for text in ids {
            assert_eq!(store.container(text).unwrap().id.as_str(), text);
        }
        let named = store.container("a").unwrap();
        assert_eq!((&named.id, &named.names[..]), (&id, &["a".to_string()][..]));
        for text in ["other", ".hidden", "lost+found", "a\nb"] {
            assert!(store.container(text).is_err(), "{text:?}");
        }
        let taken = store.add_name(&left, &name("box"));
        assert!(matches!(taken, Err(StoreError::NameTaken(_))));
    }

    #[test]
    fn links_lead_to_containers_here_or_of_their_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let elsewhere = directory.path().join("box");
        fs::rename(create(&store).directory, &elsewhere).unwrap();
        let at = |name: &str| store.layout.containers.join(name);
        symlink(&elsewhere, at("other")).unwrap();
        symlink("/", at("root")).unwrap();
        symlink("..", at("up")).unwrap();
        for text in ["other", "root", "up"] {
            assert!(store.container(text).is_err(), "{text}");
        }
        symlink(&elsewhere, at("box")).unwrap();
        for text in ["box", "other"] {
            assert_eq!(store.container(text).unwrap().id.as_str(), "box");
        }
        // udocker.py does not list it either.
        assert!(store.containers().is_empty());
    }

    #[test]
    fn no_other_text_finds_a_container() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for text in ["", ".", "..", "../containers", "x", "/etc", "a b"] {
            assert!(
                matches!(store.container(text), Err(StoreError::NoContainer(_))),
                "{text}"
            );
        }
    }
}
