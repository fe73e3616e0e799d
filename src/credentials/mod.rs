//! The user's logins: the program's own keystore, and the credential files of Podman and Docker.
//!
//! Only the keystore is ever written. This module reads neither the environment nor the home
//! directory; [`Sources`] names the files.

mod auth_file;
mod error;
mod helper;
mod key;
mod keystore;
mod sources;

use crate::oci::{FoundCredential, RegistryUrl};

use auth_file::AuthFile;
use helper::Helpers;

pub use error::CredentialsError;
pub use keystore::Keystore;
pub use sources::{AuthFilePath, Sources};

/// Looks up logins: first in the keystore, then in Podman's files, then in Docker's.
pub struct Logins {
    sources: Sources,
}

impl Logins {
    /// Makes a look-up in `sources`. Nothing is read yet.
    pub fn new(sources: Sources) -> Logins {
        Logins { sources }
    }

    /// Returns the login for `repository` at `registry`, and where it was found; `None` if there is
    /// none. If `repository` is empty, the login is for the whole registry.
    ///
    /// The most specific entry of a file counts: `host/namespace/name`, then `host/namespace`, then
    /// `host`.
    ///
    /// # Errors
    /// An existing file cannot be read, other users can access the keystore, or a helper fails.
    pub fn credential(
        &self,
        registry: &RegistryUrl,
        repository: &str,
    ) -> Result<Option<FoundCredential>, CredentialsError> {
        let path = &self.sources.keystore;
        if let Some(credential) = Keystore::new(path.clone()).get(registry)? {
            return Ok(Some(FoundCredential {
                credential,
                origin: format!("'{}'", path.display()),
            }));
        }
        let helpers = Helpers::new(self.sources.search_path.clone());
        for source in &self.sources.auth_files {
            if let Some(file) = AuthFile::load(source)?
                && let Some(found) = file.credential(registry, repository, &helpers)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::oci::{Credential, Secret};

    /// Makes a home directory with these files, and a look-up that is limited to it.
    fn home(files: &[(&str, &str)]) -> (TempDir, Logins) {
        let home = TempDir::new().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let is_program = name.starts_with("bin/");
            let mode = if is_program { 0o755 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let logins = Logins::new(sources(home.path()));
        (home, logins)
    }

    fn sources(home: &Path) -> Sources {
        Sources::usual(home.join(".udocker/keystore"), home, |name| match name {
            "PATH" => Some(format!("{}:/usr/bin:/bin", home.join("bin").display()).into()),
            _ => None,
        })
    }

    fn look_up(logins: &Logins, registry: &str, repository: &str) -> Option<String> {
        let registry = RegistryUrl::parse(registry).unwrap();
        let found = logins.credential(&registry, repository).unwrap()?;
        Some(match found.credential {
            Credential::Basic { username, password } => format!("{username}:{}", password.expose()),
            Credential::IdentityToken(token) => format!("token {}", token.expose()),
        })
    }

    fn auth(text: &str) -> String {
        let (username, password) = text.split_once(':').unwrap();
        auth_file::encode(username, &Secret::new(password))
    }

    #[test]
    fn keystore_precedes_podman_and_docker() {
        let entry = |who: &str| format!(r#"{{"quay.io": {{"auth": "{}"}}}}"#, auth(who));
        let modern = |who: &str| format!(r#"{{"auths": {}}}"#, entry(who));
        let files = [
            (".udocker/keystore", entry("udocker:1")),
            (".config/containers/auth.json", modern("podman:2")),
            (".docker/config.json", modern("docker:3")),
            (".dockercfg", entry("old:4")),
        ];
        for (first, expected) in ["udocker:1", "podman:2", "docker:3", "old:4"]
            .iter()
            .enumerate()
        {
            let files: Vec<(&str, &str)> = files[first..]
                .iter()
                .map(|(name, text)| (*name, text.as_str()))
                .collect();
            let (_home, logins) = home(&files);
            assert_eq!(
                look_up(&logins, "quay.io", "a/b").as_deref(),
                Some(*expected)
            );
            assert_eq!(look_up(&logins, "ghcr.io", "a/b"), None);
        }
        assert_eq!(look_up(&home(&[]).1, "quay.io", "a/b"), None);
    }

    #[test]
    fn most_specific_entry_is_used() {
        let text = format!(
            r#"{{"auths": {{"quay.io": {{"auth": "{}"}}, "quay.io/lab": {{"auth": "{}"}},
                "quay.io/lab/tool": {{"auth": "{}"}}, "https://index.docker.io/v1/": {{"identitytoken": "it"}},
                "docker.io/lab": {{"username": "u", "password": "p"}}, "empty.org": {{}} }}}}"#,
            auth("host:1"),
            auth("namespace:2"),
            auth("repository:3"),
        );
        let (_home, logins) = home(&[(".docker/config.json", &text)]);
        for (registry, repository, expected) in [
            ("quay.io", "lab/tool", Some("repository:3")),
            ("quay.io", "lab/tool/deep", Some("repository:3")),
            ("quay.io", "lab/toolbox", Some("namespace:2")),
            ("quay.io", "labor/x", Some("host:1")),
            ("quay.io", "", Some("host:1")),
            ("quay.io:444", "lab/tool", None),
            ("docker.io", "library/busybox", Some("token it")),
            ("registry-1.docker.io", "lab/x", Some("u:p")),
            ("empty.org", "x", None),
        ] {
            let found = look_up(&logins, registry, repository);
            assert_eq!(found.as_deref(), expected, "{registry} {repository}");
        }
    }

    /// A helper that knows some servers and fails for the others in various ways.
    const HELPER: &str = r#"#!/bin/sh
[ "$1" = get ] || exit 9
server=$(cat)
case "$server" in
    quay.io) echo '{"ServerURL": "quay.io", "Username": "me", "Secret": "pw"}' ;;
    https://index.docker.io/v1/) echo '{"Username": "<token>", "Secret": "it"}' ;;
    host.org) exit 1 ;;
    nonsense.org) echo 'secret nonsense' ;;
    leaky.org) echo '{"Username": "me", "Secret": "pw"}'; exit 1 ;;
    locked.org) echo "the vault is locked" >&2; exit 1 ;;
    *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"#;

    #[test]
    fn credential_helpers_are_asked() {
        let text = format!(
            r#"{{"auths": {{"quay.io": {{}}, "ghcr.io": {{"auth": "{}"}},
                "host.org": {{"auth": "{}"}}}}, "credsStore": "test",
                "credHelpers": {{"gcr.io": "absent", "host.org": ""}}}}"#,
            auth("file:1"),
            auth("file:2"),
        );
        let (_home, logins) = home(&[
            (".docker/config.json", &text),
            ("bin/docker-credential-test", HELPER),
        ]);
        for (registry, expected) in [
            ("quay.io", Some("me:pw")),
            ("docker.io", Some("token it")),
            ("ghcr.io", Some("file:1")),
            ("host.org", Some("file:2")),
            ("unknown.org", None),
        ] {
            let found = look_up(&logins, registry, "a/b");
            assert_eq!(found.as_deref(), expected, "{registry}");
        }
        for (registry, expected) in [
            (
                "gcr.io",
                "the credential helper 'docker-credential-absent' is not in PATH",
            ),
            (
                "nonsense.org",
                "the credential helper 'docker-credential-test' failed: its answer is not valid",
            ),
            (
                "leaky.org",
                "the credential helper 'docker-credential-test' failed: it gave no reason",
            ),
            (
                "locked.org",
                "the credential helper 'docker-credential-test' failed: the vault is locked",
            ),
        ] {
            let registry = RegistryUrl::parse(registry).unwrap();
            let error = logins.credential(&registry, "a/b").unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn deleted_entries_are_ignored() {
        let text = format!(
            r#"{{"auths": {{"quay.io": {{"auth": "{}"}}, "ghcr.io": null}},
                "credHelpers": {{"quay.io": null}}, "credsStore": null}}"#,
            auth("file:1"),
        );
        let (_home, logins) = home(&[(".docker/config.json", &text)]);
        let found = look_up(&logins, "quay.io", "a/b");
        assert_eq!(found.as_deref(), Some("file:1"));
        assert_eq!(look_up(&logins, "ghcr.io", "a/b"), None);
    }

    #[test]
    fn a_login_is_found_with_its_origin() {
        let entry = |who: &str| format!(r#"{{"quay.io": {{"auth": "{}"}}}}"#, auth(who));
        let docker = format!(
            r#"{{"auths": {}, "credHelpers": {{"docker.io": "test"}}}}"#,
            entry("docker:1")
        );
        let files = [
            (".docker/config.json", docker.as_str()),
            ("bin/docker-credential-test", HELPER),
        ];
        let origin = |logins: &Logins, registry: &str| {
            let registry = RegistryUrl::parse(registry).unwrap();
            logins.credential(&registry, "a/b").unwrap().unwrap().origin
        };
        let (docker, logins) = home(&files);
        let path = docker.path().join(".docker/config.json");
        assert_eq!(origin(&logins, "quay.io"), format!("'{}'", path.display()));
        let helper = "the credential helper 'docker-credential-test'";
        assert_eq!(origin(&logins, "docker.io"), helper);
        let (udocker, logins) = home(&[(".udocker/keystore", &entry("udocker:1"))]);
        let path = udocker.path().join(".udocker/keystore");
        assert_eq!(origin(&logins, "quay.io"), format!("'{}'", path.display()));
    }

    #[test]
    fn missing_credential_store_helper_is_ignored() {
        let (_home, logins) = home(&[(".docker/config.json", r#"{"credsStore": "desktop"}"#)]);
        assert_eq!(look_up(&logins, "quay.io", "a/b"), None);
    }

    #[test]
    fn error_names_a_damaged_file_without_its_content() {
        let registry = RegistryUrl::parse("quay.io").unwrap();
        for (name, text, reason) in [
            (
                ".docker/config.json",
                r#"{"auths": {"quay.io": "c2VjcmV0"}}"#,
                "a value of the wrong kind at line 1 column 32",
            ),
            (
                ".docker/config.json",
                r#"{"auths": {"quay.io": {"identitytoken": 5317}}}"#,
                "a value of the wrong kind at line 1 column 44",
            ),
            (
                ".docker/config.json",
                r#"{"auths": {"quay.io": {"auth": "c2VjcmV0}}}"#,
                "EOF while parsing a string at line 1 column 43",
            ),
            (
                ".udocker/keystore",
                r#""c2VjcmV0""#,
                "a value of the wrong kind at line 1 column 10",
            ),
        ] {
            let (home, logins) = home(&[(name, text)]);
            let error = logins.credential(&registry, "a").unwrap_err();
            let path = home.path().join(name);
            let path = path.display();
            assert_eq!(
                error.to_string(),
                format!("'{path}' is not a valid credentials file: {reason}")
            );
            let debug = format!("{error:?}");
            assert!(
                !debug.contains("c2VjcmV0") && !debug.contains("5317"),
                "{debug}"
            );
        }
    }
}
