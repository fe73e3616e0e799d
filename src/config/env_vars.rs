//! All environment variables that the program reads. Only this module reads the environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::host::facts;

/// The user's home directory, the default place of the repository and of credentials.
pub const HOME: &str = "HOME";
/// The directories that the host's dynamic linker searches first.
pub const LD_LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// The directory for temporary files.
pub const TMPDIR: &str = "TMPDIR";
/// Any value turns colours off.
pub const NO_COLOR: &str = "NO_COLOR";
/// `1` or `true` allows running as root, as `--allow-root` does.
pub const UDOCKER_ALLOW_ROOT: &str = "UDOCKER_ALLOW_ROOT";
/// The top directory of the repository.
pub const UDOCKER_DIR: &str = "UDOCKER_DIR";
/// `false` limits root in user namespaces to one id, even if `/etc/subuid` grants more.
pub const UDOCKER_ID_RANGES: &str = "UDOCKER_ID_RANGES";
/// `false` keeps no image trees, from which containers are cloned; `always` keeps them even if
/// files cannot share blocks.
pub const UDOCKER_IMAGE_TREES: &str = "UDOCKER_IMAGE_TREES";
/// The largest size to which one image may unpack, in megabytes of a million bytes. Without it, the
/// disk is the limit.
pub const UDOCKER_MAX_UNPACKED_MB: &str = "UDOCKER_MAX_UNPACKED_MB";
/// Any value makes the program ignore `/etc/udocker.conf`.
pub const UDOCKER_NOSYSCONF: &str = "UDOCKER_NOSYSCONF";
/// Docker's configuration directory, which contains `config.json`.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Podman's credential file.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// A PEM file with certificate authorities to trust instead of the system's.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// Directories of such PEM files, separated by colons.
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// The session's directory for run-time files.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The user's directory for configuration files.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// PRoot's directory for temporary files.
pub const PROOT_TMP_DIR: &str = "PROOT_TMP_DIR";
/// Any value makes PRoot run without seccomp, as in mode P2.
pub const PROOT_NO_SECCOMP: &str = "PROOT_NO_SECCOMP";

/// The environment in which the program was started.
///
/// It is read once and passed down, so that no function depends on a hidden global.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the environment of this process. If `HOME` is not set, as in batch systems that pass
    /// nothing on, it becomes that of the user's account.
    pub fn of_process() -> Environment {
        let mut environment = Environment(std::env::vars_os().collect());
        if environment.get(HOME).is_none()
            && let Some(home) = facts::home_of_account()
        {
            environment.0.insert(HOME.into(), home.into());
        }
        environment
    }

    /// Makes an environment from pairs, for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let own = |text: &str| OsString::from(text);
        Environment(pairs.into_iter().map(|(k, v)| (own(k), own(v))).collect())
    }

    /// Returns the value of `name`. As in shells, an empty value counts as missing.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns the value of `name` as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns the value of `name` as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Whether the value of `name` means yes.
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| super::is_true(&value))
    }

    /// Returns all pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(k, v)| (k.as_os_str(), v.as_os_str()))
    }
}
