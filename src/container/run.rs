//! Running: from a container and the user's wishes to a run that only has to be started.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use tempfile::TempDir;

use super::ContainerError;
use super::binds::put_back_files;
use crate::host::fs::FsError;
use crate::oci::ImageConfig;
use crate::spec::{ATTRIBUTES_FILE, ContainerFacts, ExecMode, HostPath, NotAbsolute};
use crate::store::Container;

/// What is run: facts for the plan, and the place for generated files as long as that is needed.
#[derive(Debug)]
pub struct RunTarget {
    /// What planning knows of the container.
    pub facts: ContainerFacts,
    /// Holds generated files where the container's own directory cannot.
    _scratch: Option<TempDir>,
}

impl RunTarget {
    /// A container of the repository, run in `mode`. Generated files live with it, unless the
    /// repository can only be read; then they live below `tmp` until the run has ended.
    ///
    /// # Errors
    /// Its metadata is damaged; no directory can be made below `tmp`.
    pub fn of_container(
        container: &Container,
        mode: ExecMode,
        tmp: &Path,
    ) -> Result<RunTarget, ContainerError> {
        let image = container.config()?;
        put_back_files(container);
        let writable = access(&container.directory, Access::WRITE_OK).is_ok();
        let scratch = (!writable).then(|| scratch(tmp)).transpose()?;
        if let Some(scratch) = &scratch {
            // What emulated root has made of files is shown, though it can make no more of them.
            let name = ATTRIBUTES_FILE;
            let _ = fs::copy(container.directory.join(name), scratch.path().join(name));
        }
        let directory = scratch
            .as_ref()
            .map_or(container.directory.as_path(), TempDir::path);
        let facts = ContainerFacts {
            id: Some(container.id.to_string()),
            names: container.names.clone(),
            mode,
            root: absolute(&container.root())?,
            directory: absolute(directory)?,
            image,
        };
        Ok(RunTarget {
            facts,
            _scratch: scratch,
        })
    }

    /// A root tree outside any repository.
    ///
    /// # Errors
    /// No directory can be made below `tmp`.
    pub fn of_location(
        root: &Path,
        mode: ExecMode,
        tmp: &Path,
    ) -> Result<RunTarget, ContainerError> {
        let scratch = scratch(tmp)?;
        let facts = ContainerFacts {
            id: None,
            names: Vec::new(),
            mode,
            root: absolute(root)?,
            directory: absolute(scratch.path())?,
            image: ImageConfig::default(),
        };
        Ok(RunTarget {
            facts,
            _scratch: Some(scratch),
        })
    }
}

fn scratch(tmp: &Path) -> Result<TempDir, FsError> {
    tempfile::Builder::new()
        .prefix("udocker-")
        .tempdir_in(tmp)
        .map_err(FsError::at("create a directory in", tmp))
}

/// Paths of the repository may be given relative to the current directory.
fn absolute(path: &Path) -> Result<HostPath, FsError> {
    let absolute: PathBuf = std::path::absolute(path).map_err(FsError::at("find", path))?;
    HostPath::new(&absolute).map_err(|NotAbsolute(path)| {
        FsError::at("find", &path)(std::io::ErrorKind::InvalidInput.into())
    })
}
