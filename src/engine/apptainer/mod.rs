//! Mode S1: Apptainer, or its predecessor Singularity, if the host has one of them.
//!
//! `args` builds the arguments; this module finds and starts the program. Its exit status is that
//! of the command, except that it is 255 if `SIGKILL` ended the command.

mod args;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{EngineError, EngineOptions, RunOutcome};
use crate::host::process::{Foreground, SignalTarget};
use crate::spec::RunSpec;

/// The programs in order of preference, with the prefix of the variables that each sets in the
/// container.
const PROGRAMS: [(&str, &str); 2] = [
    ("apptainer", "APPTAINERENV_"),
    ("singularity", "SINGULARITYENV_"),
];

/// Apptainer or Singularity.
pub(super) struct Apptainer {
    path: PathBuf,
    prefix: &'static str,
}

impl Apptainer {
    /// The program for a container: that of the settings, or the one that is found.
    ///
    /// # Errors
    /// The host has neither program, or a path of `spec` cannot be expressed.
    pub(super) fn of(spec: &RunSpec, options: &EngineOptions) -> Result<Apptainer, EngineError> {
        let apptainer = match &options.other_apptainer {
            Some(path) => Apptainer::at(path),
            None => Apptainer::find(&options.search_path).ok_or(EngineError::NoApptainer)?,
        };
        args::check(spec).map(|()| apptainer)
    }

    fn find(search_path: &OsStr) -> Option<Apptainer> {
        PROGRAMS.into_iter().find_map(|(name, prefix)| {
            let path = which::which_in(name, Some(search_path), Path::new("/")).ok()?;
            Some(Apptainer { path, prefix })
        })
    }

    /// The program at `path`; it is taken for Singularity if that is its name.
    fn at(path: &Path) -> Apptainer {
        let name = path.file_name().unwrap_or_default();
        let [(_, prefix), (older, older_prefix)] = PROGRAMS;
        Apptainer {
            path: path.to_path_buf(),
            prefix: if name == older { older_prefix } else { prefix },
        }
    }

    /// Runs the container to its end.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn launch(
        self,
        spec: &RunSpec,
        options: &EngineOptions,
    ) -> Result<RunOutcome, EngineError> {
        let Apptainer { path, prefix } = self;
        let variables = args::environment(spec, prefix);
        // Apptainer calls programs of the host, such as mksquashfs.
        let own = (OsStr::new("PATH"), options.search_path.as_os_str());
        let environment: Vec<(&OsStr, &OsStr)> = variables
            .iter()
            .map(|(name, value)| (name.as_os_str(), *value))
            .chain([own])
            .collect();
        let foreground = Foreground {
            program: &path,
            arguments: &args::arguments(spec),
            environment: &environment,
            signals: SignalTarget::Program,
        };
        let outcome = foreground.run();
        outcome.map_err(|source| EngineError::Start { path, source })
    }
}

/// Whether the host has Apptainer or Singularity.
pub(super) fn is_available(options: &EngineOptions) -> bool {
    match &options.other_apptainer {
        Some(path) => access(path, Access::EXEC_OK).is_ok(),
        None => Apptainer::find(&options.search_path).is_some(),
    }
}
