//! Starts PRoot and waits for it.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::binary::{self, Unpacked};
use super::{Features, args, check_outcome};
use crate::engine::{EngineError, EngineOptions, RunOutcome};
use crate::host::file_system::allows_execution;
use crate::host::process::{self, Foreground, SignalTarget};
use crate::spec::RunSpec;

/// Runs a container in PRoot.
pub(in crate::engine) fn launch(
    spec: &RunSpec,
    options: &EngineOptions,
    seccomp: bool,
) -> Result<RunOutcome, EngineError> {
    let start = Start::new(spec, options, Features::of(options), seccomp)?;
    in_first_place(options, |place| start.with(place)).and_then(check_outcome)
}

/// Finds out whether PRoot works on this host, by running PRoot itself as the guest.
///
/// # Errors
/// PRoot cannot be unpacked or started, or cannot trace; the error contains its message.
pub fn probe(options: &EngineOptions, seccomp: bool) -> Result<(), EngineError> {
    in_first_place(options, |place| {
        let guest = place.proot.as_os_str();
        let arguments = ["-r", "/", "-w", "/"].map(OsStr::new);
        let arguments = arguments
            .into_iter()
            .chain([guest, OsStr::new("--version")]);
        let environment = environment_in(&options.tmp_dir, place, seccomp);
        let arguments: Vec<&OsStr> = arguments.collect();
        process::output(&place.proot, &arguments, &environment).map(drop)
    })
}

/// Starts PRoot from the first place where it can be executed.
fn in_first_place<T>(
    options: &EngineOptions,
    start: impl Fn(&Unpacked) -> io::Result<T>,
) -> Result<T, EngineError> {
    let at = |place: Unpacked| {
        start(&place).map_err(|source| EngineError::Start {
            path: place.proot,
            source,
        })
    };
    if let Some(proot) = &options.other_proot {
        return at(Unpacked::other(proot));
    }
    let mut last = None;
    for place in places(options) {
        match at(place) {
            // A security module may forbid execution that the mount allows.
            Err(EngineError::Start { path, source })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                last = Some(EngineError::Start { path, source });
            }
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or_else(|| no_place(options)))
}

/// PRoot unpacked to files that can be bound into a container, unlike memory files.
pub(in crate::engine) fn unpacked_to_bind(
    options: &EngineOptions,
) -> Result<Unpacked, EngineError> {
    if let Some(proot) = &options.other_proot {
        return Ok(Unpacked::other(proot));
    }
    in_directory(&options.bin_dir)
        .or_else(|| in_fallbacks(options).next())
        .ok_or_else(|| no_place(options))
}

fn no_place(options: &EngineOptions) -> EngineError {
    let tried = std::iter::once(&options.bin_dir).chain(&options.fallback_dirs);
    EngineError::NoPlace(tried.cloned().collect())
}

fn in_directory(directory: &Path) -> Option<Unpacked> {
    let unpacked = binary::unpack(directory).ok()?;
    allows_execution(directory).then_some(unpacked)
}

/// The places from which PRoot can be executed, the best one first. Each is prepared only on
/// demand.
fn places(options: &EngineOptions) -> impl Iterator<Item = Unpacked> + '_ {
    std::iter::once_with(move || in_directory(&options.bin_dir))
        .chain(std::iter::once_with(|| binary::keep_in_memory().ok()))
        .flatten()
        .chain(in_fallbacks(options))
}

fn in_fallbacks(options: &EngineOptions) -> impl Iterator<Item = Unpacked> + '_ {
    options
        .fallback_dirs
        .iter()
        .filter_map(|shared| in_directory(&binary::own_directory(shared)?))
}

fn environment_in<'a>(
    tmp_dir: &'a Path,
    place: &'a Unpacked,
    seccomp: bool,
) -> Vec<(&'a OsStr, &'a OsStr)> {
    let (loader, loader_32) = (place.loader.as_deref(), place.loader_32.as_deref());
    args::environment(tmp_dir, loader, loader_32, seccomp)
}

/// A container that is ready to be started, from any of the places.
struct Start<'a> {
    arguments: Vec<std::ffi::OsString>,
    spec: &'a RunSpec,
    tmp_dir: &'a Path,
    seccomp: bool,
    signals: SignalTarget,
}

impl<'a> Start<'a> {
    fn new(
        spec: &'a RunSpec,
        options: &'a EngineOptions,
        features: Features,
        seccomp: bool,
    ) -> Result<Start<'a>, EngineError> {
        Ok(Start {
            arguments: args::arguments(spec, features)?,
            spec,
            tmp_dir: &options.tmp_dir,
            seccomp,
            signals: if features.follows_main_process {
                SignalTarget::Program
            } else {
                SignalTarget::FirstChild
            },
        })
    }

    fn with(&self, place: &Unpacked) -> io::Result<RunOutcome> {
        let mut environment: Vec<(&OsStr, &OsStr)> = self.spec.env.iter().collect();
        environment.extend(environment_in(self.tmp_dir, place, self.seccomp));
        let ended = Foreground {
            program: &place.proot,
            arguments: &self.arguments,
            environment: &environment,
            signals: self.signals,
        }
        .run()?;
        Ok(ended)
    }
}
