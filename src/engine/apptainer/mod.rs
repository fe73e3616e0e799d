//! Mode S1: Apptainer, or its older sibling Singularity, where the host has one of them.
//!
//! `args` says what it is told; here it is found and started. How the command ended is what it
//! returns: for one killed by `SIGKILL` that is 255, which may as well be a status of the command.

mod args;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{EngineError, EngineOptions, RunOutcome};
use crate::host::process::{Foreground, SignalTarget};
use crate::spec::RunSpec;

/// The programs that will do, the better one first, with what begins the variables that they set
/// inside.
const PROGRAMS: [(&str, &str); 2] = [
    ("apptainer", "APPTAINERENV_"),
    ("singularity", "SINGULARITYENV_"),
];

/// One of them.
struct Apptainer {
    path: PathBuf,
    prefix: &'static str,
}

impl Apptainer {
    fn find(search_path: &OsStr) -> Option<Apptainer> {
        PROGRAMS.into_iter().find_map(|(name, prefix)| {
            let path = which::which_in(name, Some(search_path), Path::new("/")).ok()?;
            Some(Apptainer { path, prefix })
        })
    }

    /// The one at `path`, which is the older one where it is called so.
    fn at(path: &Path) -> Apptainer {
        let name = path.file_name().unwrap_or_default();
        let [(_, prefix), (older, older_prefix)] = PROGRAMS;
        Apptainer {
            path: path.to_path_buf(),
            prefix: if name == older { older_prefix } else { prefix },
        }
    }
}

/// Whether there is one.
pub(super) fn is_there(options: &EngineOptions) -> bool {
    match &options.other_apptainer {
        Some(path) => access(path, Access::EXEC_OK).is_ok(),
        None => Apptainer::find(&options.search_path).is_some(),
    }
}

/// A container as one of them is to run it.
pub(super) struct Start {
    apptainer: Apptainer,
    arguments: Vec<OsString>,
}

impl Start {
    /// Plans it; nothing has been changed when that fails.
    pub(super) fn plan(spec: &RunSpec, options: &EngineOptions) -> Result<Start, EngineError> {
        Ok(Start {
            apptainer: match &options.other_apptainer {
                Some(path) => Apptainer::at(path),
                None => Apptainer::find(&options.search_path).ok_or(EngineError::NoApptainer)?,
            },
            arguments: args::arguments(spec)?,
        })
    }

    /// Runs it to its end.
    pub(super) fn launch(
        self,
        spec: &RunSpec,
        options: &EngineOptions,
    ) -> Result<RunOutcome, EngineError> {
        let Apptainer { path, prefix } = self.apptainer;
        let variables = args::environment(spec, prefix);
        // It needs the host's own programs, mksquashfs and the like.
        let own = (OsStr::new("PATH"), options.search_path.as_os_str());
        let environment: Vec<(&OsStr, &OsStr)> = variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), *value))
            .chain([own])
            .collect();
        let foreground = Foreground {
            program: &path,
            arguments: &self.arguments,
            environment: &environment,
            signals: SignalTarget::Program,
        };
        let outcome = foreground.run();
        outcome.map_err(|source| EngineError::Start { path, source })
    }
}
