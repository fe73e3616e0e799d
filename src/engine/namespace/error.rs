//! Errors of entering namespaces, and their causes on the host.

use std::fs;
use std::io;

/// A step into the namespaces that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct NamespaceError {
    /// The step, as a verb phrase.
    pub step: String,
    /// The operating system's error.
    pub source: io::Error,
}

/// The host does not allow user namespaces, for any container.
#[derive(Debug, thiserror::Error)]
#[error("{} allows no user namespaces: {cause} ({error})", cause.who())]
pub struct Unavailable {
    /// The most likely cause.
    pub cause: Cause,
    /// The step that failed.
    pub error: NamespaceError,
}

impl Unavailable {
    /// Finds the cause of a failure.
    pub(super) fn because_of(error: NamespaceError) -> Unavailable {
        Unavailable {
            cause: Cause::find(&error.source, &read_setting, is_traced()),
            error,
        }
    }
}

/// The value of a kernel setting, by its name for `sysctl`.
fn read_setting(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether another process traces this one.
fn is_traced() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let tracer = lines.find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// Why user namespaces are not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A kernel setting, which the administrator can change.
    #[error("the setting `{name}` is {value}")]
    Setting {
        /// Its name for `sysctl`.
        name: &'static str,
        /// Its current value.
        value: u64,
        /// The value that allows namespaces.
        wanted: u64,
    },
    /// There are too many user namespaces, or they are nested too deeply.
    #[error("there are too many already, or they are nested too deeply")]
    TooMany,
    /// The kernel was built without them.
    #[error("the kernel has none")]
    Kernel,
    /// `/proc` is not mounted.
    #[error("/proc, where ids are mapped, is not there")]
    NoProc,
    /// A tracer interferes, most likely the PRoot of a container around this process.
    #[error("a tracer changes what system calls do")]
    Tracer,
    /// None of these, so most likely a security policy.
    #[error("a security policy forbids them, perhaps that of a container around this one")]
    Policy,
}

impl Cause {
    /// The kernel settings that can forbid namespaces: name, forbidding value, allowing value.
    const SETTINGS: [(&'static str, u64, u64); 3] = [
        ("user.max_user_namespaces", 0, 10_000),
        ("kernel.unprivileged_userns_clone", 0, 1),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    ];

    /// The settings of `Cause::SETTINGS` that this kernel has, with their current values.
    pub fn settings() -> Vec<(&'static str, u64)> {
        let names = Cause::SETTINGS.iter().map(|(name, ..)| *name);
        names
            .filter_map(|name| Some((name, read_setting(name)?)))
            .collect()
    }

    fn find(error: &io::Error, setting: &dyn Fn(&str) -> Option<u64>, is_traced: bool) -> Cause {
        for (name, forbidding, wanted) in Cause::SETTINGS {
            if let Some(value) = setting(name).filter(|&value| value == forbidding) {
                return Cause::Setting {
                    name,
                    value,
                    wanted,
                };
            }
        }
        match error.raw_os_error() {
            _ if is_traced => Cause::Tracer,
            Some(libc::ENOSPC | libc::EUSERS) => Cause::TooMany,
            Some(libc::ENOSYS | libc::EINVAL) => Cause::Kernel,
            Some(libc::ENOENT) => Cause::NoProc,
            _ => Cause::Policy,
        }
    }

    /// The subject of the error message.
    fn who(self) -> &'static str {
        match self {
            Cause::Tracer => "PRoot around this process",
            _ => "this host",
        }
    }

    /// A hint: what can be done, and by whom.
    pub fn remedy(self) -> String {
        match self {
            Cause::Setting { name, wanted, .. } => format!(
                "an administrator can allow them with `sysctl -w {name}={wanted}`; execution mode P1 works without"
            ),
            Cause::TooMany | Cause::Kernel | Cause::NoProc | Cause::Tracer | Cause::Policy => {
                "execution mode P1 works without them".to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_causes_are_found() {
        let cause = |errno: i32, name: &str, value: u64| {
            let setting = |asked: &str| (asked == name).then_some(value);
            Cause::find(&io::Error::from_raw_os_error(errno), &setting, false).to_string()
        };
        for (errno, name, value, text) in [
            (
                libc::ENOSPC,
                "user.max_user_namespaces",
                0,
                "the setting `user.max_user_namespaces` is 0",
            ),
            (
                libc::ENOSPC,
                "user.max_user_namespaces",
                9,
                "there are too many already, or they are nested too deeply",
            ),
            (
                libc::EPERM,
                "kernel.unprivileged_userns_clone",
                0,
                "the setting `kernel.unprivileged_userns_clone` is 0",
            ),
            (
                libc::EACCES,
                "kernel.apparmor_restrict_unprivileged_userns",
                1,
                "the setting `kernel.apparmor_restrict_unprivileged_userns` is 1",
            ),
            (libc::EINVAL, "", 0, "the kernel has none"),
            (
                libc::ENOENT,
                "",
                0,
                "/proc, where ids are mapped, is not there",
            ),
            (
                libc::EPERM,
                "",
                0,
                "a security policy forbids them, perhaps that of a container around this one",
            ),
        ] {
            assert_eq!(cause(errno, name, value), text);
        }
    }
}
