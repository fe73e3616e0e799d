//! Gathers the facts about a container, or another root tree, that is to be run.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use tempfile::TempDir;

use super::ContainerError;
use super::binds::put_back_files;
use crate::host::fs::{FsError, without_path};
use crate::oci::ImageConfig;
use crate::spec::{ATTRIBUTES_FILE, ContainerFacts, ExecMode, HostPath, NotAbsolute};
use crate::store::Container;

/// What is run: the facts for planning, and a temporary directory for files of the run.
#[derive(Debug)]
pub struct RunTarget {
    /// The facts about the container.
    pub facts: ContainerFacts,
    /// The directory for files of this run, and for all generated ones if the container's own
    /// directory cannot be used.
    _scratch: Option<TempDir>,
}

impl RunTarget {
    /// Returns the target for a container of the repository, run in `mode`. Generated files are
    /// kept in the container's directory; if that is read-only, below `tmp` until the value is
    /// dropped, like the files of this run alone.
    ///
    /// # Errors
    /// The container's metadata is damaged; or its directory is read-only, and none can be created
    /// below `tmp`.
    pub fn of_container(
        container: &Container,
        mode: ExecMode,
        tmp: &Path,
    ) -> Result<RunTarget, ContainerError> {
        let image = container.config()?;
        put_back_files(container);
        let scratch = scratch_directory(tmp);
        let (directory, scratch) = match access(&container.directory, Access::WRITE_OK) {
            Ok(()) => (absolute(&container.directory)?, scratch.ok()),
            Err(_) => {
                let scratch = scratch?;
                // The guest sees the attributes that emulated root has set, but its changes are
                // lost.
                let name = ATTRIBUTES_FILE;
                let _ = fs::copy(container.directory.join(name), scratch.path().join(name));
                (absolute(scratch.path())?, Some(scratch))
            }
        };
        let facts = ContainerFacts {
            id: Some(container.id.to_string()),
            names: container.names.clone(),
            mode,
            root: absolute(&container.root())?,
            directory,
            run_directory: scratch
                .as_ref()
                .map(|scratch| absolute(scratch.path()))
                .transpose()?,
            image,
        };
        Ok(RunTarget {
            facts,
            _scratch: scratch,
        })
    }

    /// Returns the target for a root tree outside any repository.
    ///
    /// # Errors
    /// No directory can be created below `tmp`, or `root` is empty.
    pub fn of_location(
        root: &Path,
        mode: ExecMode,
        tmp: &Path,
    ) -> Result<RunTarget, ContainerError> {
        let scratch = scratch_directory(tmp)?;
        let directory = absolute(scratch.path())?;
        let facts = ContainerFacts {
            id: None,
            names: Vec::new(),
            mode,
            root: absolute(root)?,
            run_directory: Some(directory.clone()),
            directory,
            image: ImageConfig::default(),
        };
        Ok(RunTarget {
            facts,
            _scratch: Some(scratch),
        })
    }
}

/// Creates a directory below `tmp` for files of one run.
///
/// # Errors
/// It cannot be created.
pub fn scratch_directory(tmp: &Path) -> Result<TempDir, ContainerError> {
    let made = tempfile::Builder::new().prefix("udocker-").tempdir_in(tmp);
    made.map_err(without_path)
        .map_err(FsError::at("create a directory in", tmp))
        .map_err(ContainerError::NoScratch)
}

/// Makes `path` absolute: the repository's path may be relative to the current directory.
fn absolute(path: &Path) -> Result<HostPath, FsError> {
    let absolute: PathBuf = std::path::absolute(path).map_err(FsError::at("find", path))?;
    HostPath::new(&absolute).map_err(|NotAbsolute(path)| {
        FsError::at("find", &path)(std::io::ErrorKind::InvalidInput.into())
    })
}
