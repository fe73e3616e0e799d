//! Writes what a container needs before its start.

use std::io::{self, Write};

use rustix::fs::OFlags;

use crate::host::fs::{FsError, make_beneath, open_beneath, open_file_beneath, write_atomic};
use crate::spec::{BeneathPath, Preparation};

/// Carries the preparations out, in their order; `mount_points` among them only if asked to.
///
/// # Errors
/// One fails without which the container would not run as planned.
pub(super) fn carry_out(preparations: &[Preparation], mount_points: bool) -> Result<(), FsError> {
    for preparation in preparations {
        match preparation {
            Preparation::MountDirectory(_) | Preparation::MountFile(_) if !mount_points => {}
            // A repository that can only be read has to do: PRoot shows binds that have no
            // mount point, and ids without a name are shown as numbers.
            Preparation::MountDirectory(place) => {
                let _ = make_beneath(place.base.as_path(), place.below(), true);
            }
            Preparation::MountFile(place) => {
                let _ = make_beneath(place.base.as_path(), place.below(), false);
            }
            Preparation::Append { path, text } => {
                let _ = append(path, text);
            }
            Preparation::WorkingDirectory(place) => {
                open_beneath(place.base.as_path(), place.below(), true)?;
            }
            Preparation::Generate {
                path,
                text,
                is_optional,
            } => {
                let path = path.as_path();
                if !path.exists() {
                    let written = write_atomic(path, text.as_bytes(), 0o644);
                    written.or_else(|error| if *is_optional { Ok(()) } else { Err(error) })?;
                }
            }
        }
    }
    Ok(())
}

/// In one write, so that two runs at once leave whole lines.
fn append(place: &BeneathPath, text: &str) -> io::Result<()> {
    // Not blocking, should it have become a pipe since it was looked at.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    open_file_beneath(place.base.as_path(), place.below(), flags)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::spec::HostPath;

    /// Those at `prefix` in the tree `base`.
    fn preparations(base: &HostPath, prefix: &str) -> Vec<Preparation> {
        let at = |name: &str| BeneathPath::beneath(base, Path::new(&format!("/{prefix}{name}")));
        vec![
            Preparation::WorkingDirectory(at("w/d")),
            Preparation::MountDirectory(at("m/d")),
            Preparation::MountFile(at("m/f/file")),
            Preparation::Append {
                path: at("group"),
                text: "b\n".to_string(),
            },
            Preparation::Generate {
                path: base.beneath(Path::new("passwd-1")),
                text: "first\n".to_string(),
                is_optional: false,
            },
        ]
    }

    #[test]
    fn preparations_are_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let base = HostPath::new(directory.path()).unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("group"), "a\n").unwrap();
        let preparations = preparations(&base, "");
        carry_out(&preparations, true).unwrap();
        assert!(at("m/d").is_dir());
        assert_eq!(fs::read(at("m/f/file")).unwrap(), b"");
        assert!(at("w/d").is_dir());
        assert_eq!(fs::read(at("group")).unwrap(), b"a\nb\n");

        // What the guest has made of a generated file stays.
        fs::write(at("passwd-1"), "edited\n").unwrap();
        carry_out(&preparations[4..], true).unwrap();
        assert_eq!(fs::read(at("passwd-1")).unwrap(), b"edited\n");
    }

    /// As a guest that already runs there puts them in the way at the last moment.
    #[test]
    fn links_lead_none_of_them_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["tree", "outside"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("outside/group"), "").unwrap();
        symlink("../outside", at("tree/away")).unwrap();
        symlink("../outside/group", at("tree/group")).unwrap();
        let base = HostPath::new(at("tree")).unwrap();
        for prefix in ["", "away/", "../outside/"] {
            for preparation in preparations(&base, prefix) {
                let _ = carry_out(&[preparation], true);
            }
        }
        assert_eq!(fs::read(at("outside/group")).unwrap(), b"");
        assert_eq!(fs::read_dir(at("outside")).unwrap().count(), 1);
    }

    #[test]
    fn only_what_is_needed_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let base = HostPath::new(directory.path()).unwrap();
        let below = BeneathPath::beneath(&base, Path::new("/file/x"));
        assert!(carry_out(&[Preparation::MountDirectory(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::MountFile(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::WorkingDirectory(below)], true).is_err());
        for is_optional in [true, false] {
            let generated = Preparation::Generate {
                path: base.beneath(Path::new("file/x")),
                text: String::new(),
                is_optional,
            };
            assert_eq!(carry_out(&[generated], true).is_ok(), is_optional);
        }
    }
}
