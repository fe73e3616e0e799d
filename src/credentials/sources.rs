//! The places where logins may be stored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The files to search, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The program's own keystore.
    pub keystore: PathBuf,
    /// Podman's and Docker's files.
    pub auth_files: Vec<AuthFilePath>,
    /// The value of `PATH`, where helpers are searched.
    pub search_path: Option<OsString>,
}

/// A credential file of Podman or Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFilePath {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a `.dockercfg`, which contains the entries without `auths` around them.
    pub is_legacy: bool,
}

impl Sources {
    /// Returns the usual places. `variable` looks up an environment variable.
    ///
    /// The order is Podman's: `REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `$XDG_CONFIG_HOME/containers/auth.json`, `$DOCKER_CONFIG/config.json` (`~/.docker` by
    /// default), `~/.dockercfg`.
    ///
    /// Source: containers-auth.json(5).
    pub fn usual(
        keystore: PathBuf,
        home: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Sources {
        let directory = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let runtime = directory("XDG_RUNTIME_DIR");
        let config = directory("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let docker = directory("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
        let modern = [
            directory("REGISTRY_AUTH_FILE"),
            runtime.map(|runtime| runtime.join("containers/auth.json")),
            Some(config.join("containers/auth.json")),
            Some(docker.join("config.json")),
        ];
        let mut auth_files: Vec<AuthFilePath> = modern
            .into_iter()
            .flatten()
            .map(|path| AuthFilePath {
                path,
                is_legacy: false,
            })
            .collect();
        auth_files.push(AuthFilePath {
            path: home.join(".dockercfg"),
            is_legacy: true,
        });
        Sources {
            keystore,
            auth_files,
            search_path: variable("PATH"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(variables: &[(&str, &str)]) -> Vec<String> {
        Sources::usual(PathBuf::from("/k"), Path::new("/home/me"), |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })
        .auth_files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect()
    }

    #[test]
    fn credential_files_are_searched_in_the_order_of_podman() {
        assert_eq!(
            paths(&[]),
            [
                "/home/me/.config/containers/auth.json",
                "/home/me/.docker/config.json",
                "/home/me/.dockercfg"
            ]
        );
        assert_eq!(
            paths(&[
                ("REGISTRY_AUTH_FILE", "/a.json"),
                ("XDG_RUNTIME_DIR", "/run/user/7"),
                ("XDG_CONFIG_HOME", "/cfg"),
                ("DOCKER_CONFIG", "/dc"),
            ]),
            [
                "/a.json",
                "/run/user/7/containers/auth.json",
                "/cfg/containers/auth.json",
                "/dc/config.json",
                "/home/me/.dockercfg"
            ]
        );
    }
}
