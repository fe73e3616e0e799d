//! Remembers that this host refuses namespaces, so that mode `auto` does not try each time.
//!
//! The refusal is kept in a note in the directory of the engines, named `refused-HOST`, since
//! several hosts may share the directory. The note lists the circumstances of the refusal, one per
//! line, and applies only to a process in exactly the same circumstances:
//!
//! ```text
//! boot 0b9c3e3a-7d6f-4b0e-9d0f-2f6d1c1b7a55
//! user 1000 in user:[4026531837]
//! root 2049:2
//! label unconfined
//! user.max_user_namespaces 0
//! ```
//!
//! So the note does not apply after a reboot, with other settings, or in another container.
//! Refusals that may concern this process alone are not remembered: those by an unknown policy, and
//! all in a process that is filtered or traced. That namespaces are allowed is not remembered
//! either; it costs nothing to enter them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Cause, Unavailable};
use crate::host::facts::{host_name, uid};
use crate::host::fs::{create_dir_all, write_atomic};

/// The note of this host.
pub struct RefusalNote {
    path: PathBuf,
}

impl RefusalNote {
    /// The note in `directory`, which need not exist.
    pub fn in_directory(directory: &Path) -> RefusalNote {
        RefusalNote {
            path: directory.join(format!("refused-{}", host_name())),
        }
    }

    /// Whether the note exists and matches the circumstances of this process.
    pub fn applies(&self) -> bool {
        let Ok(noted) = fs::read_to_string(&self.path) else {
            return false;
        };
        Circumstances::look_up().is_some_and(|now| now.0 == noted)
    }

    /// Writes the note if the refusal will last. Errors are ignored.
    pub fn write(&self, refusal: &Unavailable) {
        let Some(now) = will_last(refusal.cause).then(Circumstances::look_up) else {
            return;
        };
        if let (Some(now), Some(directory)) = (now, self.path.parent()) {
            // Without the note, the next run tries again.
            let _ = create_dir_all(directory)
                .and_then(|()| write_atomic(&self.path, now.0.as_bytes(), 0o644));
        }
    }
}

/// Whether namespaces stay refused as long as the [`Circumstances`] are the same.
fn will_last(cause: Cause) -> bool {
    match cause {
        Cause::Setting { .. } | Cause::Kernel => true,
        Cause::TooMany | Cause::NoProc | Cause::Tracer | Cause::Policy => false,
    }
}

/// Everything that decides whether a lasting cause applies to a process.
#[derive(Debug, PartialEq, Eq)]
struct Circumstances(String);

impl Circumstances {
    fn look_up() -> Option<Circumstances> {
        let root = fs::metadata("/").ok()?;
        let namespace = fs::read_link("/proc/self/ns/user").ok()?;
        Circumstances::of(
            &format!("{} in {}", uid(), namespace.display()),
            &format!("{}:{}", root.dev(), root.ino()),
            &Cause::settings(),
            &|path| fs::read_to_string(path).ok(),
        )
    }

    /// `None` if they cannot be determined, or if a filter or tracer of this process may be the
    /// cause.
    fn of(
        user: &str,
        root: &str,
        settings: &[(&str, u64)],
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Circumstances> {
        let status = read("/proc/self/status")?;
        let is_set = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.is_some_and(|value| value.trim() != "0")
        };
        if is_set("Seccomp") || is_set("TracerPid") {
            return None;
        }
        let boot = read("/proc/sys/kernel/random/boot_id")?;
        // The AppArmor profile or SELinux context of this process.
        let label = read("/proc/self/attr/current").unwrap_or_default();
        let label = label.trim_end_matches(['\0', '\n']);
        let mut text = format!(
            "boot {}\nuser {user}\nroot {root}\nlabel {label}\n",
            boot.trim()
        );
        for (name, value) in settings {
            text += &format!("{name} {value}\n");
        }
        Some(Circumstances(text))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::error::NamespaceError;
    use super::*;

    const SETTING: Cause = Cause::Setting {
        name: "user.max_user_namespaces",
        value: 0,
        wanted: 1,
    };

    fn refusal(cause: Cause) -> Unavailable {
        let error = NamespaceError {
            step: "try".to_string(),
            source: io::Error::from_raw_os_error(libc::EPERM),
        };
        Unavailable { cause, error }
    }

    #[test]
    fn lasting_refusal_is_remembered_until_the_host_changes() {
        let directory = tempfile::tempdir().unwrap();
        let note = RefusalNote::in_directory(&directory.path().join("bin"));
        assert!(!note.applies());
        for cause in [Cause::TooMany, Cause::NoProc, Cause::Policy] {
            note.write(&refusal(cause));
            assert!(!note.path.exists(), "{cause}");
        }
        note.write(&refusal(SETTING));
        let is_told = Circumstances::look_up().is_some();
        assert_eq!(note.applies(), is_told);
        let before = fs::read_to_string(&note.path).unwrap_or_default();
        // A filter around the tests prevents notes, and with them their directory.
        fs::create_dir_all(directory.path().join("bin")).unwrap();
        fs::write(&note.path, before + "user.more 1\n").unwrap();
        assert!(!note.applies());
        note.write(&refusal(Cause::Kernel));
        assert_eq!(note.applies(), is_told);
    }

    #[test]
    fn a_note_that_cannot_be_written_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let note = RefusalNote::in_directory(file.path());
        note.write(&refusal(SETTING));
        assert!(!note.applies());
    }

    #[test]
    fn circumstances_list_everything_that_decides() {
        let told = |status: &str, label: Option<&str>| {
            let read = |path: &str| match path {
                "/proc/self/status" => Some(status.to_string()),
                "/proc/self/attr/current" => label.map(str::to_string),
                "/proc/sys/kernel/random/boot_id" => Some("0b9c\n".to_string()),
                _ => None,
            };
            let settings = [("user.max_user_namespaces", 0)];
            Circumstances::of("7 in user:[1]", "2:3", &settings, &read).map(|told| told.0)
        };
        let text =
            "boot 0b9c\nuser 7 in user:[1]\nroot 2:3\nlabel free\nuser.max_user_namespaces 0\n";
        let free = "TracerPid:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n";
        for (status, label, expected) in [
            (free, Some("free\n"), Some(text)),
            // A kernel without seccomp.
            ("TracerPid:\t0\n", Some("free\0"), Some(text)),
            ("TracerPid:\t0\nSeccomp:\t2\n", Some("free\n"), None),
            ("TracerPid:\t7\nSeccomp:\t0\n", Some("free\n"), None),
        ] {
            assert_eq!(told(status, label).as_deref(), expected, "{status}");
        }
        assert!(told(free, None).unwrap().contains("label \n"));
        assert_eq!(Circumstances::of("", "", &[], &|_| None), None);
    }
}
