//! Modes R2 and R3: PRoot inside namespaces.
//!
//! The mount namespace provides the files, so that read-only volumes are enforced and the rest of
//! the host cannot be reached. PRoot runs inside with `/` as its root, and emulates the other
//! users, the kernel release and the ports. PRoot and its loaders are bound below `/.udocker`, in a
//! tmpfs.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::namespace::{self, Emulation};
use super::proot::{self, Features, Unpacked};
use super::{EngineError, EngineOptions, RunOutcome};
use crate::host::fs::{FsError, open_note};
use crate::spec::{
    ATTRIBUTES_FILE, Access, Argv, Bind, GuestPath, HostPath, Identity, Processes, RunSpec, Tmpfs,
};

/// The guest directory that PRoot and its loaders are bound to.
const DIRECTORY: &str = "/.udocker";

/// Runs a container in PRoot in namespaces.
pub(super) fn launch(
    spec: &RunSpec,
    options: &EngineOptions,
    seccomp: bool,
) -> Result<RunOutcome, EngineError> {
    let features = Features::of(options);
    let unpacked = proot::unpacked_to_bind(options)?;
    let outer = outside(spec, &unpacked, features, seccomp)?;
    let outcome = namespace::launch(&outer, Emulation::Tracer).map_err(|error| match error {
        EngineError::Execute { source, .. } => EngineError::Start {
            path: unpacked.proot,
            source,
        },
        error => error,
    })?;
    proot::check_outcome(outcome)
}

/// The spec for the namespaces: they run PRoot, as the calling user.
fn outside(
    spec: &RunSpec,
    unpacked: &Unpacked,
    features: Features,
    seccomp: bool,
) -> Result<RunSpec, EngineError> {
    let directory = GuestPath::root().join(DIRECTORY);
    let mut binds = spec.binds.clone();
    binds.push(Bind {
        // It only tells that the mount point is a directory.
        source: HostPath::root(),
        target: directory.clone(),
        access: Access::ReadWrite,
        tmpfs: Some(Tmpfs::default()),
        is_default: false,
    });
    let mut show = |source: &Path, name: &str, access: Access| -> Result<GuestPath, EngineError> {
        let target = directory.join(name);
        binds.push(Bind {
            source: host_path(source)?,
            target: target.clone(),
            access,
            tmpfs: None,
            is_default: false,
        });
        Ok(target)
    };
    let proot = show(&unpacked.proot, "proot", Access::ReadOnly)?;
    let mut show_loader = |source: Option<&PathBuf>, name| {
        let shown = source.map(|source| show(source, name, Access::ReadOnly));
        shown.transpose()
    };
    let loader = show_loader(unpacked.loader.as_ref(), "loader")?;
    let loader_32 = show_loader(unpacked.loader_32.as_ref(), "loader-32")?;
    // If it cannot be created, PRoot creates one in the tmpfs, which lasts as long as the run.
    let container = spec.directory.as_path();
    if open_note(container, ATTRIBUTES_FILE, OFlags::empty()).is_ok() {
        let attributes = container.join(ATTRIBUTES_FILE);
        show(&attributes, ATTRIBUTES_FILE, Access::ReadWrite)?;
    }
    let mut env = spec.env.clone();
    for (name, value) in proot::environment(
        directory.as_path(),
        loader.as_ref().map(GuestPath::as_path),
        loader_32.as_ref().map(GuestPath::as_path),
        seccomp,
    ) {
        env.set(name, value);
    }
    Ok(RunSpec {
        argv: Argv::of(
            proot.as_path().into(),
            proot::arguments(&inside(spec)?, features)?,
        ),
        env,
        identity: Identity::Caller,
        binds,
        kernel: None,
        ports: Vec::new(),
        publish_all: false,
        ..spec.clone()
    })
}

fn host_path(path: &Path) -> Result<HostPath, EngineError> {
    let path = std::path::absolute(path).map_err(FsError::at("find", path))?;
    HostPath::new(&path)
        .map_err(|_| FsError::at("find", &path)(io::ErrorKind::InvalidInput.into()).into())
}

/// The spec for PRoot: the same command, with `/` as the root and without binds.
fn inside(spec: &RunSpec) -> Result<RunSpec, EngineError> {
    Ok(RunSpec {
        root: HostPath::root(),
        directory: host_path(Path::new(DIRECTORY))?,
        root_access: Access::ReadWrite,
        binds: Vec::new(),
        host_name: None,
        processes: Processes::Hosts,
        ..spec.clone()
    })
}
