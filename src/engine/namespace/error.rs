//! Where entering namespaces failed, and what of the host is to blame.

use std::fs;
use std::io;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct NamespaceError {
    /// What was tried.
    pub step: String,
    /// The system's answer.
    pub source: io::Error,
}

/// There are no namespaces here, whatever the container.
#[derive(Debug, thiserror::Error)]
#[error("{} allows no user namespaces: {cause} ({error})", cause.who())]
pub struct Unavailable {
    /// What is to blame.
    pub cause: Cause,
    /// What failed.
    pub error: NamespaceError,
}

impl Unavailable {
    /// Looks for the cause of a failure.
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

/// What keeps user namespaces away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// A setting that the administrator can change.
    #[error("the setting `{name}` is {value}")]
    Setting {
        /// Its name for `sysctl`.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it should be.
        wanted: u64,
    },
    /// Too many, or nested too deeply.
    #[error("there are too many already, or they are nested too deeply")]
    TooMany,
    /// A kernel built without them.
    #[error("the kernel has none")]
    Kernel,
    /// No `/proc`, or another file system in its place.
    #[error("/proc, where ids are mapped, is not there")]
    NoProc,
    /// A tracer, in all likelihood the PRoot of a container around this process.
    #[error("a tracer changes what system calls do")]
    Tracer,
    /// Nothing that can be read.
    #[error("a security policy forbids them, perhaps that of a container around this one")]
    Policy,
}

impl Cause {
    /// Every setting that is known to forbid them: its name, and the values that do and do not.
    const SETTINGS: [(&'static str, u64, u64); 3] = [
        ("user.max_user_namespaces", 0, 10_000),
        ("kernel.unprivileged_userns_clone", 0, 1),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    ];

    /// The settings above that this kernel has, with their values.
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

    /// Who allows none.
    fn who(self) -> &'static str {
        match self {
            Cause::Tracer => "PRoot around this process",
            _ => "this host",
        }
    }

    /// The way out, and who can take it.
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
    fn causes_are_found() {
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
