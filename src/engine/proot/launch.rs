//! Starts PRoot and waits for it.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::binary::{self, Unpacked};
use super::{Features, args};
use crate::engine::{EngineError, EngineOptions, RunOutcome};
use crate::host::process::{Foreground, SignalTarget};
use crate::spec::RunSpec;

/// Runs a container in PRoot.
pub(in crate::engine) fn launch(
    spec: &RunSpec,
    options: &EngineOptions,
    seccomp: bool,
) -> Result<RunOutcome, EngineError> {
    let start = Start::new(spec, options, Features::of(options), seccomp)?;
    if let Some(proot) = &options.other_proot {
        return start
            .with(proot, None, None)
            .map_err(|source| EngineError::Start {
                path: proot.clone(),
                source,
            });
    }
    let mut last = None;
    for unpacked in places(options) {
        match start.with(
            &unpacked.proot,
            unpacked.loader.as_deref(),
            unpacked.loader_32.as_deref(),
        ) {
            Ok(outcome) => return Ok(outcome),
            // A security module may forbid what the mount allows.
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                last = Some(EngineError::Start {
                    path: unpacked.proot.clone(),
                    source,
                });
            }
            Err(source) => {
                return Err(EngineError::Start {
                    path: unpacked.proot.clone(),
                    source,
                });
            }
        }
    }
    Err(last.unwrap_or_else(|| no_place(options)))
}

/// PRoot as files that can be shown elsewhere, which memory files cannot.
pub(in crate::engine) fn unpacked_to_bind(
    options: &EngineOptions,
) -> Result<Unpacked, EngineError> {
    if let Some(proot) = &options.other_proot {
        return Ok(binary::other(proot));
    }
    std::iter::once(&options.bin_dir)
        .chain(&options.fallback_dirs)
        .find_map(|directory| in_directory(directory))
        .ok_or_else(|| no_place(options))
}

fn no_place(options: &EngineOptions) -> EngineError {
    let tried = std::iter::once(&options.bin_dir).chain(&options.fallback_dirs);
    EngineError::NoPlace(tried.cloned().collect())
}

fn in_directory(directory: &Path) -> Option<Unpacked> {
    let unpacked = binary::unpack(directory).ok()?;
    binary::allows_execution(directory).then_some(unpacked)
}

/// Where PRoot can be executed from, the best place first; each is made ready when it is asked for.
fn places(options: &EngineOptions) -> impl Iterator<Item = Unpacked> + '_ {
    std::iter::once_with(move || in_directory(&options.bin_dir))
        .chain(std::iter::once_with(|| binary::keep_in_memory().ok()))
        .chain(
            options
                .fallback_dirs
                .iter()
                .map(move |directory| in_directory(directory)),
        )
        .flatten()
}

/// What stays the same wherever PRoot is executed from.
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

    fn with(
        &self,
        proot: &Path,
        loader: Option<&Path>,
        loader_32: Option<&Path>,
    ) -> io::Result<RunOutcome> {
        let mut environment: Vec<(&OsStr, &OsStr)> = self.spec.env.iter().collect();
        environment.extend(args::environment(
            self.tmp_dir,
            loader,
            loader_32,
            self.seccomp,
        ));
        let ended = Foreground {
            program: proot,
            arguments: &self.arguments,
            environment: &environment,
            signals: self.signals,
        }
        .run()?;
        Ok(ended.into())
    }
}
