//! Writes the files and directories that a container needs before its start.

use std::fs;
use std::io::{self, Write};

use rustix::fs::OFlags;

use crate::host::fs::{FsError, make_beneath, open_beneath, open_file_beneath, write_atomic};
use crate::spec::{BeneathPath, HostPath, Preparation};

/// Carries out the preparations in order; mount points are made only if `mount_points` is set.
/// Returns the files of this run that could not be written.
///
/// # Errors
/// The working directory or a generated file cannot be created.
pub(super) fn carry_out(
    preparations: &[Preparation],
    mount_points: bool,
) -> Result<Vec<&HostPath>, FsError> {
    let mut unwritten = Vec::new();
    for preparation in preparations {
        match preparation {
            Preparation::MountDirectory(_) | Preparation::MountFile(_) if !mount_points => {}
            // The repository may be read-only. PRoot can show binds without a mount point, and ids
            // without a name appear as numbers.
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
            Preparation::Generate { path, text } => {
                let path = path.as_path();
                if !path.exists() {
                    write_atomic(path, text.as_bytes(), 0o644)?;
                }
            }
            Preparation::WriteForRun { path, text } => {
                if fs::write(path.as_path(), text).is_err() {
                    unwritten.push(path);
                }
            }
        }
    }
    Ok(unwritten)
}

/// Appends in one write, so that two runs at the same time leave whole lines.
fn append(place: &BeneathPath, text: &str) -> io::Result<()> {
    // Not blocking: the file may have been replaced by a pipe since the run was planned.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    open_file_beneath(place.base.as_path(), place.below(), flags)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// One preparation of each kind, at `prefix` in the tree `base`.
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
            },
        ]
    }

    #[test]
    fn prepared_files_are_written_once() {
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

        // The guest's changes to a generated file stay.
        fs::write(at("passwd-1"), "edited\n").unwrap();
        carry_out(&preparations[4..], true).unwrap();
        assert_eq!(fs::read(at("passwd-1")).unwrap(), b"edited\n");
    }

    /// A guest that already runs in the tree may put links there after the run was planned.
    #[test]
    fn prepared_files_do_not_follow_symlinks() {
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
    fn files_of_a_run_that_cannot_be_written_are_returned() {
        let directory = tempfile::tempdir().unwrap();
        let base = HostPath::new(directory.path()).unwrap();
        let [written, unwritten] =
            ["hosts", "missing/hosts"].map(|name| base.beneath(Path::new(name)));
        let preparations = [&written, &unwritten].map(|path| Preparation::WriteForRun {
            path: path.clone(),
            text: "first\n".to_string(),
        });
        assert_eq!(carry_out(&preparations, true).unwrap(), [&unwritten]);
        assert_eq!(fs::read(written.as_path()).unwrap(), b"first\n");
    }

    #[test]
    fn missing_working_directories_and_generated_files_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let base = HostPath::new(directory.path()).unwrap();
        let below = BeneathPath::beneath(&base, Path::new("/file/x"));
        assert!(carry_out(&[Preparation::MountDirectory(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::MountFile(below.clone())], true).is_ok());
        assert!(carry_out(&[Preparation::WorkingDirectory(below)], true).is_err());
        let generated = Preparation::Generate {
            path: base.beneath(Path::new("file/x")),
            text: String::new(),
        };
        assert!(carry_out(&[generated], true).is_err());
    }
}
