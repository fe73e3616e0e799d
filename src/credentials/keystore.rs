//! The program's own keystore, shared with udocker.py.
//!
//! ```json
//! {"https://registry-1.docker.io": {"auth": "base64 of user:password", "email": ""}}
//! ```
//!
//! The file has mode 0600 and belongs to the user. Any other mode or owner is refused, since other
//! users may then have read the logins or added some.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use crate::host::facts;
use crate::host::fs::{FsError, create_dir_all, remove_file, write_atomic};
use crate::oci::{Credential, RegistryUrl, Secret};

use super::CredentialsError;
use super::auth_file::{FILE_MAX_BYTES, LoginEntry, encode};
use super::key::{Key, host_place, own_place, repository_places};

const PRIVATE_MODE: u32 = 0o600;

/// The keystore file.
pub struct Keystore {
    path: PathBuf,
}

impl Keystore {
    /// Returns the keystore at `path`, which need not exist. If `path` is a symbolic link, the
    /// keystore is the file that it leads to: the link itself is never replaced.
    pub fn new(path: PathBuf) -> Keystore {
        let path = match path.read_link() {
            Ok(target) => path
                .canonicalize()
                // The target of the link does not exist yet.
                .unwrap_or_else(|_| path.with_file_name(target)),
            Err(_) => path,
        };
        Keystore { path }
    }

    /// Returns the login for `registry`; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read, is not private, or is malformed.
    pub fn get(&self, registry: &RegistryUrl) -> Result<Option<Credential>, CredentialsError> {
        let entries = self.load()?;
        // The exact key takes precedence over other spellings, and those over the whole host.
        let exact = entries.get_key_value(registry.as_str());
        let mut places = repository_places(registry, "");
        places.push(host_place(registry));
        let others = places.iter().flat_map(|place| {
            let covers = move |key: &str| Key::parse(key).covers(place, registry);
            entries.iter().filter(move |(key, _)| covers(key))
        });
        for (key, value) in exact.into_iter().chain(others) {
            let entry: LoginEntry = serde_json::from_value(value.clone())
                .map_err(|_| self.entry_error(key, "it is not an object of texts"))?;
            let credential = entry
                .credential()
                .map_err(|reason| self.entry_error(key, reason))?;
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }

    /// Stores a login, in place of the one for the same registry.
    ///
    /// # Errors
    /// `ColonInUsername`; or the file cannot be read or written, or is not private.
    pub fn put(
        &self,
        registry: &RegistryUrl,
        username: &str,
        password: &Secret,
    ) -> Result<(), CredentialsError> {
        if username.contains(':') {
            return Err(CredentialsError::ColonInUsername);
        }
        create_dir_all(self.directory())?;
        let _lock = self.lock();
        let mut entries = self.load()?;
        remove(&mut entries, registry);
        entries.insert(
            registry.as_str().to_string(),
            json!({"auth": encode(username, password), "email": ""}),
        );
        self.save(entries)
    }

    /// Deletes the login for `registry` and returns whether there was one.
    ///
    /// # Errors
    /// The file cannot be read or written, or is not private.
    pub fn delete(&self, registry: &RegistryUrl) -> Result<bool, CredentialsError> {
        let _lock = self.lock();
        let mut entries = self.load()?;
        let is_found = remove(&mut entries, registry);
        if is_found {
            self.save(entries)?;
        }
        Ok(is_found)
    }

    /// Deletes all logins: removes the file.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn erase(&self) -> Result<(), CredentialsError> {
        Ok(remove_file(&self.path)?)
    }

    fn load(&self) -> Result<Map<String, Value>, CredentialsError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(FsError::at("open", &self.path)(error).into()),
        };
        // These are read from the open file, since the name may meanwhile lead to another one.
        let metadata = file.metadata().map_err(FsError::at("read", &self.path))?;
        if metadata.uid() != facts::uid() {
            return Err(CredentialsError::ForeignOwner {
                path: self.path.clone(),
                owner: metadata.uid(),
            });
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CredentialsError::Exposed {
                path: self.path.clone(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(FsError::at("read", &self.path))?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| CredentialsError::malformed(&self.path, &error))
    }

    fn save(&self, entries: Map<String, Value>) -> Result<(), CredentialsError> {
        let text = format!("{:#}\n", Value::Object(entries));
        Ok(write_atomic(&self.path, text.as_bytes(), PRIVATE_MODE)?)
    }

    /// Locks the keystore, so that two logins at once are both kept. The directory is locked, since
    /// the file is replaced. On a file system without locks, there is no lock.
    fn lock(&self) -> Option<File> {
        let directory = File::open(self.directory()).ok()?;
        flock(&directory, FlockOperation::LockExclusive).ok()?;
        Some(directory)
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    fn entry_error(&self, key: &str, reason: &'static str) -> CredentialsError {
        CredentialsError::Entry {
            path: self.path.clone(),
            key: key.to_string(),
            reason,
        }
    }
}

/// Removes all spellings of a registry.
fn remove(entries: &mut Map<String, Value>, registry: &RegistryUrl) -> bool {
    let own = own_place(registry);
    let before = entries.len();
    entries.retain(|key, _| key != registry.as_str() && !Key::parse(key).covers(&own, registry));
    entries.len() < before
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn keystore(directory: &TempDir) -> Keystore {
        Keystore::new(directory.path().join("home/keystore"))
    }

    fn registry(text: &str) -> RegistryUrl {
        RegistryUrl::parse(text).unwrap()
    }

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic {
            username: username.to_string(),
            password: Secret::new(password),
        }
    }

    fn write(keystore: &Keystore, text: &str, mode: u32) {
        fs::create_dir_all(keystore.directory()).unwrap();
        fs::write(&keystore.path, text).unwrap();
        fs::set_permissions(&keystore.path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn login_is_stored_privately_in_the_format_of_udocker_py() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        let hub = RegistryUrl::docker_hub();
        assert_eq!(keystore.get(&hub).unwrap(), None);
        keystore.put(&hub, "marie", &Secret::new("a:b")).unwrap();
        assert_eq!(keystore.get(&hub).unwrap(), Some(basic("marie", "a:b")));
        let document: Value = serde_json::from_slice(&fs::read(&keystore.path).unwrap()).unwrap();
        assert_eq!(
            document,
            json!({"https://registry-1.docker.io": {"auth": "bWFyaWU6YTpi", "email": ""}})
        );
        let mode = fs::metadata(&keystore.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_symbolic_link_to_a_keystore_stays() {
        for target in ["../secure/keystore", "/absolute"] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("home/keystore");
            let target = match target.strip_prefix('/') {
                Some(name) => directory.path().join(name),
                None => PathBuf::from(target),
            };
            fs::create_dir_all(directory.path().join("secure")).unwrap();
            fs::create_dir_all(directory.path().join("home")).unwrap();
            std::os::unix::fs::symlink(&target, &path).unwrap();
            let quay = registry("quay.io");
            // The target does not exist at first, then it does.
            for password in ["one", "two"] {
                let keystore = Keystore::new(path.clone());
                keystore.put(&quay, "me", &Secret::new(password)).unwrap();
                assert_eq!(path.read_link().unwrap(), target);
                let kept = keystore.get(&quay).unwrap();
                assert_eq!(kept, Some(basic("me", password)));
            }
            assert!(Keystore::new(path.clone()).delete(&quay).unwrap());
            Keystore::new(path.clone()).erase().unwrap();
            assert_eq!(path.read_link().unwrap(), target);
            assert!(!path.exists());
        }
    }

    #[test]
    fn every_spelling_of_a_registry_finds_its_entry() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        write(
            &keystore,
            r#"{"quay.io": {"auth": "YTpi", "email": "me"}, "other.org": {"auth": "eDp5"},
                "https://index.docker.io/v1/": {"auth": "Yzpk"}}"#,
            0o600,
        );
        let quay = registry("https://quay.io");
        assert_eq!(keystore.get(&quay).unwrap(), Some(basic("a", "b")));
        assert_eq!(
            keystore.get(&RegistryUrl::docker_hub()).unwrap(),
            Some(basic("c", "d"))
        );
        keystore.put(&quay, "new", &Secret::new("pw")).unwrap();
        assert_eq!(keystore.get(&quay).unwrap(), Some(basic("new", "pw")));
        assert!(keystore.delete(&quay).unwrap());
        assert!(!keystore.delete(&quay).unwrap());
        assert_eq!(keystore.get(&quay).unwrap(), None);
        assert_eq!(
            keystore.get(&registry("other.org")).unwrap(),
            Some(basic("x", "y"))
        );
        keystore.erase().unwrap();
        keystore.erase().unwrap();
        assert_eq!(keystore.get(&registry("other.org")).unwrap(), None);
    }

    #[test]
    fn registries_on_one_host_have_logins_of_their_own() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        let host = registry("https://h:1");
        let below = registry("https://h:1/art/docker/");
        let password = |registry| match keystore.get(registry).unwrap() {
            Some(Credential::Basic { password, .. }) => Some(password.expose().to_string()),
            _ => None,
        };
        keystore.put(&below, "me", &Secret::new("below")).unwrap();
        assert_eq!(password(&host), None);
        keystore.put(&host, "me", &Secret::new("host")).unwrap();
        assert_eq!(password(&below).as_deref(), Some("below"));
        let keys: Vec<String> = keystore.load().unwrap().into_iter().map(|e| e.0).collect();
        // udocker.py looks for these.
        assert_eq!(keys, ["https://h:1", "https://h:1/art/docker"]);
        assert!(keystore.delete(&below).unwrap());
        assert_eq!(password(&below).as_deref(), Some("host"));
        assert!(!keystore.delete(&below).unwrap());
    }

    #[test]
    fn keystore_accessible_to_others_is_refused() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            write(&keystore, "{}", mode);
            let error = keystore.get(&registry("quay.io")).unwrap_err();
            assert!(
                matches!(error, CredentialsError::Exposed { mode: found, .. } if found == mode),
                "{mode:o}: {error}"
            );
            let error = keystore.put(&registry("quay.io"), "a", &Secret::new("b"));
            assert!(error.is_err(), "nothing is added to it either");
        }
    }

    #[test]
    fn damage_is_reported_and_nothing_is_overwritten() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        let quay = registry("quay.io");
        for (text, expected) in [
            ("{", "is not a valid credentials file"),
            ("[]", "is not a valid credentials file"),
            (r#"{"quay.io": 7}"#, "it is not an object of texts"),
            (r#"{"quay.io": {"auth": "%%"}}"#, "'auth' is not base64"),
            (
                r#"{"quay.io": {"auth": "YWI="}}"#,
                "'auth' has no colon between user and password",
            ),
        ] {
            write(&keystore, text, 0o600);
            let error = keystore.get(&quay).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert_eq!(fs::read_to_string(&keystore.path).unwrap(), text);
        }
        write(&keystore, " \n", 0o600);
        assert_eq!(keystore.get(&quay).unwrap(), None);
        let error = keystore.put(&quay, "a:b", &Secret::new("c")).unwrap_err();
        assert!(matches!(error, CredentialsError::ColonInUsername));
    }

    #[test]
    fn concurrent_logins_are_all_stored() {
        let directory = TempDir::new().unwrap();
        let keystore = keystore(&directory);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let keystore = &keystore;
                scope.spawn(move || {
                    let registry = registry(&format!("host{number}.org"));
                    keystore.put(&registry, "me", &Secret::new("pw")).unwrap();
                });
            }
        });
        assert_eq!(keystore.load().unwrap().len(), 8);
    }
}
