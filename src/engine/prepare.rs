//! Writes what a container needs before its start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::host::fs::{FsError, create_dir_all, write_atomic};
use crate::spec::Preparation;

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
            Preparation::MountDirectory(path) => {
                let _ = create_dir_all(path.as_path());
            }
            Preparation::MountFile(path) => {
                let _ = create_empty(path.as_path());
            }
            Preparation::Append { path, text } => {
                let _ = append(path.as_path(), text);
            }
            Preparation::WorkingDirectory(path) => create_dir_all(path.as_path())?,
            Preparation::Generate { path, text } => {
                let path = path.as_path();
                if !path.exists() {
                    write_atomic(path, text.as_bytes(), 0o644)?;
                }
            }
        }
    }
    Ok(())
}

fn create_empty(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create_new(path)?;
    Ok(())
}

/// In one write, so that two runs at once leave whole lines.
fn append(path: &Path, text: &str) -> io::Result<()> {
    File::options()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HostPath;

    #[test]
    fn preparations_are_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| HostPath::new(directory.path().join(name)).unwrap();
        fs::write(at("group").as_path(), "a\n").unwrap();
        let preparations = [
            Preparation::MountDirectory(at("m/d")),
            Preparation::MountFile(at("m/f/file")),
            Preparation::WorkingDirectory(at("w/d")),
            Preparation::Append {
                path: at("group"),
                text: "b\n".to_string(),
            },
            Preparation::Generate {
                path: at("passwd-1"),
                text: "first\n".to_string(),
            },
        ];
        carry_out(&preparations, true).unwrap();
        assert!(at("m/d").as_path().is_dir());
        assert_eq!(fs::read(at("m/f/file").as_path()).unwrap(), b"");
        assert!(at("w/d").as_path().is_dir());
        assert_eq!(fs::read(at("group").as_path()).unwrap(), b"a\nb\n");

        // What the guest has made of a generated file stays.
        fs::write(at("passwd-1").as_path(), "edited\n").unwrap();
        carry_out(&preparations[4..], true).unwrap();
        assert_eq!(fs::read(at("passwd-1").as_path()).unwrap(), b"edited\n");
    }

    #[test]
    fn only_what_is_needed_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let below = HostPath::new(file.join("x")).unwrap();
        assert!(carry_out(&[Preparation::MountDirectory(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::MountFile(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::WorkingDirectory(below)], true).is_err());
    }
}
