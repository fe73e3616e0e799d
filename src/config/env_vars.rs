//! Every environment variable the program reads, and the only place that reads them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::host::facts;

/// The home directory of the user: default place of the repository and of credentials.
pub const HOME: &str = "HOME";
/// Where the host's linker looks for libraries first.
pub const LD_LIBRARY_PATH: &str = "LD_LIBRARY_PATH";
/// Directory for temporary files.
pub const TMPDIR: &str = "TMPDIR";
/// Any value switches colours off.
pub const NO_COLOR: &str = "NO_COLOR";
/// `1` or `true` allows running as root, as `--allow-root` does.
pub const UDOCKER_ALLOW_ROOT: &str = "UDOCKER_ALLOW_ROOT";
/// Top directory of the repository.
pub const UDOCKER_DIR: &str = "UDOCKER_DIR";
/// `false` keeps root in user namespaces to one id, though `/etc/subuid` grants more.
pub const UDOCKER_ID_RANGES: &str = "UDOCKER_ID_RANGES";
/// `false` keeps no trees of images to clone containers from, `always` keeps them also where files
/// cannot share blocks.
pub const UDOCKER_IMAGE_TREES: &str = "UDOCKER_IMAGE_TREES";
/// Most megabytes, of a million bytes, that the files of one image may unpack to. Not set, the
/// disk is the limit.
pub const UDOCKER_MAX_UNPACKED_MB: &str = "UDOCKER_MAX_UNPACKED_MB";
/// Any value makes the program ignore `/etc/udocker.conf`.
pub const UDOCKER_NOSYSCONF: &str = "UDOCKER_NOSYSCONF";
/// Docker's configuration directory, which holds `config.json`.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Podman's credential file.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// A PEM file of certificate authorities to trust instead of the system's.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// A directory of such files.
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// The session's directory for run-time files.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The user's directory for configuration files.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where PRoot puts its temporary files.
pub const PROOT_TMP_DIR: &str = "PROOT_TMP_DIR";
/// Any value makes PRoot work without seccomp, as mode P2 does.
pub const PROOT_NO_SECCOMP: &str = "PROOT_NO_SECCOMP";

/// The environment the program was started with.
///
/// Read once and handed down, so that nothing below depends on a hidden global.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Takes the process's own. Where `HOME` is not set, as in batch systems that pass nothing on,
    /// it is that of the caller's account.
    pub fn of_process() -> Environment {
        let mut environment = Environment(std::env::vars_os().collect());
        if environment.get(HOME).is_none()
            && let Some(home) = facts::home_of_account()
        {
            environment.0.insert(HOME.into(), home.into());
        }
        environment
    }

    /// Makes one of pairs, for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let own = |text: &str| OsString::from(text);
        Environment(pairs.into_iter().map(|(k, v)| (own(k), own(v))).collect())
    }

    /// The value of `name`; an empty one counts as missing, as shells treat it.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of `name` as text; other bytes are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// The value of `name` as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Whether `name` is set to something that means yes.
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| super::is_true(&value))
    }

    /// All pairs, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(k, v)| (k.as_os_str(), v.as_os_str()))
    }
}
