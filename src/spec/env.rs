//! Builds the guest's environment; the host's variables are passed on only on request.
//!
//! Later sources win: the host's variables, the image's `Env`, the variables that describe the user
//! and the container, `--env-file`, `-e`. As an exception, the image may set `HOME`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use super::path::split_once;

/// The guest's `PATH` if neither the image nor the configuration sets it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The guest's `PATH` if the image sets none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPaths {
    /// For root.
    pub root: String,
    /// For other users.
    pub user: String,
}

impl Default for SearchPaths {
    fn default() -> SearchPaths {
        SearchPaths {
            root: DEFAULT_PATH.to_string(),
            user: DEFAULT_PATH.to_string(),
        }
    }
}

impl SearchPaths {
    /// Returns the `PATH` for the user `uid`.
    pub(super) fn of(&self, uid: u32) -> &str {
        match uid {
            0 => &self.root,
            _ => &self.user,
        }
    }
}

/// The host's variable that is passed on by default.
pub const ALWAYS_PASSED: &str = "TERM";

/// The host's variable that even `--hostenv` does not pass on by default.
pub const NEVER_PASSED: &str = "VTE_VERSION";

/// The configuration keys `valid_host_env` and `invalid_host_env`: names of the host's variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVariables {
    /// Those that are passed on without `--hostenv` too.
    pub always: Vec<String>,
    /// Those that are not passed on, even with `--hostenv`.
    pub never: Vec<String>,
}

impl Default for HostVariables {
    fn default() -> HostVariables {
        HostVariables {
            always: vec![ALWAYS_PASSED.to_string()],
            never: vec![NEVER_PASSED.to_string()],
        }
    }
}

impl HostVariables {
    /// Whether a variable is passed on. `PATH` names directories that the container does not have,
    /// though udocker.py's list has it, and `PROOT_*` is for the engine. Other search paths and the
    /// working directory are passed on only if they are named.
    fn pass(&self, name: &OsStr, all: bool) -> bool {
        const PATHS: [&str; 4] = ["LD_LIBRARY_PATH", "LD_PRELOAD", "PWD", "OLDPWD"];
        let is_in = |names: &[String]| names.iter().any(|listed| name == listed.as_str());
        if name == "PATH" || name.as_bytes().starts_with(b"PROOT_") || is_in(&self.never) {
            return false;
        }
        is_in(&self.always) || all && !PATHS.iter().any(|path| name == *path)
    }
}

/// Environment variables, in the order in which they were first set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GuestEnv(Vec<(OsString, OsString)>);

impl GuestEnv {
    /// Sets a variable; one that is set already keeps its position.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        let (name, value) = (name.as_ref(), value.as_ref().to_os_string());
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_os_string(), value)),
        }
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0
            .iter()
            .find(|(known, _)| known == name.as_ref())
            .map(|(_, value)| value.as_os_str())
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

/// Shows the names only, since values may be secrets.
impl fmt::Debug for GuestEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl FromIterator<(OsString, OsString)> for GuestEnv {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(pairs: I) -> GuestEnv {
        let mut environment = GuestEnv::default();
        for (name, value) in pairs {
            environment.set(name, value);
        }
        environment
    }
}

/// The value of `-e`, or a line of an `--env-file`.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvOption {
    /// `K=V`.
    Set(OsString, OsString),
    /// `K`: the host's value, if it has one.
    FromHost(OsString),
}

/// Shows the name only, since the value may be a secret.
impl fmt::Debug for EnvOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvOption::Set(name, _) => write!(f, "Set({name:?}, …)"),
            EnvOption::FromHost(name) => write!(f, "FromHost({name:?})"),
        }
    }
}

/// A variable without a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid environment variable '{0}': it has no name")]
pub struct EnvError(pub String);

impl EnvOption {
    /// Parses `K=V` or `K`. The value keeps blanks and further `=`. Blanks around the name are
    /// removed: shells have no such names.
    ///
    /// # Errors
    /// The name is empty, or the text has a NUL byte.
    pub fn parse(text: &OsStr) -> Result<EnvOption, EnvError> {
        let requested = match split_once(text, b'=') {
            Some((name, value)) => EnvOption::Set(trimmed(&name), value),
            None => EnvOption::FromHost(trimmed(text)),
        };
        let (EnvOption::Set(name, _) | EnvOption::FromHost(name)) = &requested;
        if name.is_empty() || text.as_bytes().contains(&0) {
            return Err(EnvError(text.to_string_lossy().into_owned()));
        }
        Ok(requested)
    }

    /// Parses an `--env-file`: one variable a line; `#` begins a comment line. Quotes have no
    /// special meaning, as in Docker. A byte order mark is skipped.
    ///
    /// # Errors
    /// A line has an empty name or a NUL byte.
    pub fn parse_file(text: &[u8]) -> Result<Vec<EnvOption>, EnvError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        text.split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start())
            .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
            .map(|line| EnvOption::parse(OsStr::from_bytes(line)))
            .collect()
    }

    fn apply(&self, environment: &mut GuestEnv, host: &GuestEnv) {
        match self {
            EnvOption::Set(name, value) => environment.set(name, value),
            EnvOption::FromHost(name) => {
                if let Some(value) = host.get(name) {
                    environment.set(name, value);
                }
            }
        }
    }
}

fn trimmed(name: &OsStr) -> OsString {
    OsStr::from_bytes(name.as_bytes().trim_ascii()).to_os_string()
}

/// The sources of the variables.
pub(super) struct Sources<'a> {
    pub(super) host: &'a GuestEnv,
    pub(super) host_variables: &'a HostVariables,
    pub(super) pass_host: bool,
    /// The default `PATH`.
    pub(super) path: &'a str,
    pub(super) image: &'a [String],
    pub(super) home: &'a str,
    /// The variables that describe the user and the container.
    pub(super) descriptive: &'a [(&'static str, String)],
    pub(super) requested: &'a [EnvOption],
}

/// Builds the environment.
pub(super) fn plan_environment(sources: &Sources<'_>) -> GuestEnv {
    let mut environment: GuestEnv = sources
        .host
        .iter()
        .filter(|(name, _)| sources.host_variables.pass(name, sources.pass_host))
        .map(|(name, value)| (name.to_os_string(), value.to_os_string()))
        .collect();
    environment.set("PATH", sources.path);
    environment.set("HOME", sources.home);
    for text in sources.image {
        // An image may hold anything; texts that set no variable are skipped.
        if let Ok(requested @ EnvOption::Set(..)) = EnvOption::parse(OsStr::new(text)) {
            requested.apply(&mut environment, sources.host);
        }
    }
    for (name, value) in sources.descriptive {
        environment.set(name, value);
    }
    for requested in sources.requested {
        requested.apply(&mut environment, sources.host);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> GuestEnv {
        pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect()
    }

    #[test]
    fn variables_are_parsed() {
        for (text, requested) in [
            ("A=b", EnvOption::Set("A".into(), "b".into())),
            ("A=", EnvOption::Set("A".into(), "".into())),
            ("A= b = c ", EnvOption::Set("A".into(), " b = c ".into())),
            ("A", EnvOption::FromHost("A".into())),
            (" A = b", EnvOption::Set("A".into(), " b".into())),
            (" A ", EnvOption::FromHost("A".into())),
        ] {
            assert_eq!(EnvOption::parse(OsStr::new(text)), Ok(requested), "{text}");
        }
        for text in ["", "=", "=b", " ", " =b"] {
            assert!(EnvOption::parse(OsStr::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn env_files_have_one_variable_a_line() {
        assert_eq!(
            EnvOption::parse_file(b"\xef\xbb\xbf# c\n\nA=\"b\"\r\n  B=1 \nC\n"),
            Ok(vec![
                EnvOption::Set("A".into(), "\"b\"".into()),
                EnvOption::Set("B".into(), "1 ".into()),
                EnvOption::FromHost("C".into()),
            ])
        );
        assert_eq!(
            EnvOption::parse_file(b"A=1\n=2\n"),
            Err(EnvError("=2".to_string()))
        );
    }

    #[test]
    fn values_are_not_shown() {
        let option = EnvOption::parse(OsStr::new("TOKEN=secret")).unwrap();
        assert_eq!(format!("{option:?}"), "Set(\"TOKEN\", …)");
        let environment = environment(&[("TOKEN", "secret")]);
        assert_eq!(format!("{environment:?}"), "[\"TOKEN\"]");
    }

    #[test]
    fn later_sources_win() {
        let host = environment(&[("TERM", "xterm"), ("H", "host"), ("PATH", "/host")]);
        let requested: Vec<EnvOption> = ["B=requested", "H", "NONE", "USER=me"]
            .iter()
            .map(|text| EnvOption::parse(OsStr::new(text)).unwrap())
            .collect();
        let image = ["A=image", "B=image", "HOME=/image", "USER=image", "junk"];
        let planned = plan_environment(&Sources {
            host: &host,
            host_variables: &HostVariables::default(),
            pass_host: false,
            path: DEFAULT_PATH,
            image: &image.map(str::to_string),
            home: "/root",
            descriptive: &[("USER", "root".to_string()), ("SHLVL", "0".to_string())],
            requested: &requested,
        });
        assert_eq!(
            planned,
            environment(&[
                ("TERM", "xterm"),
                ("PATH", DEFAULT_PATH),
                ("HOME", "/image"),
                ("A", "image"),
                ("B", "requested"),
                ("USER", "me"),
                ("SHLVL", "0"),
                ("H", "host"),
            ])
        );
    }

    #[test]
    fn hostenv_passes_the_hosts_variables_with_exceptions() {
        let host = environment(&[
            ("X", "1"),
            ("VTE_VERSION", "1"),
            ("PATH", "/host"),
            ("LD_LIBRARY_PATH", "/host"),
            ("PROOT_NO_SECCOMP", "1"),
            ("HOME", "/home/me"),
        ]);
        let planned = plan_environment(&Sources {
            host: &host,
            host_variables: &HostVariables::default(),
            pass_host: true,
            path: DEFAULT_PATH,
            image: &[],
            home: "/root",
            descriptive: &[],
            requested: &[],
        });
        assert_eq!(
            planned,
            environment(&[("X", "1"), ("HOME", "/root"), ("PATH", DEFAULT_PATH)])
        );
    }

    #[test]
    fn configured_variables_are_passed_or_not() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let variables = HostVariables {
            always: names(&["TERM", "PATH", "PROOT_TMP_DIR", "LD_LIBRARY_PATH", "A", "B"]),
            never: names(&["B", "C"]),
        };
        for (name, by_default, with_hostenv) in [
            ("A", true, true),
            ("B", false, false),
            ("C", false, false),
            ("D", false, true),
            ("VTE_VERSION", false, true),
            ("LD_LIBRARY_PATH", true, true),
            ("LD_PRELOAD", false, false),
            ("PATH", false, false),
            ("PROOT_TMP_DIR", false, false),
        ] {
            let passed = [false, true].map(|all| variables.pass(OsStr::new(name), all));
            assert_eq!(passed, [by_default, with_hostenv], "{name}");
        }
    }
}
