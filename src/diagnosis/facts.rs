//! Gathers facts about this host, mostly by trying things out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, Mode, OFlags, ResolveFlags, flock};
use rustix::io::Errno;

use crate::engine::{self, EngineError, EngineOptions, namespace, proot};
use crate::host::facts::Machine;
use crate::host::file_system::{FileSystem, allows_execution, can_share_blocks};
use crate::host::process;
use crate::oci::RegistryUrl;
use crate::registry::{Client, Proxies, RegistryError, TrustedCertificates};

/// What to look at.
pub struct Request<'a> {
    /// The options of engines.
    pub engine: &'a EngineOptions,
    /// The repository's directory for containers, which may be missing.
    pub containers: &'a Path,
    /// The proxies for registries.
    pub proxies: &'a Proxies,
    /// The certificates that the user named.
    pub trusted: &'a TrustedCertificates,
    /// The registry to contact, if any.
    pub registry: Option<(&'a Client, &'a RegistryUrl)>,
}

/// Whether something works, with the reason if it does not.
pub type Probe = Result<(), String>;

/// Facts about this host. Not `Debug`, since proxies may hold passwords.
#[derive(Clone)]
pub struct Facts {
    /// The machine and its kernel.
    pub machine: Machine,
    /// Whether user namespaces work, which mode R1 needs.
    pub namespaces: Result<(), namespace::Cause>,
    /// The kernel's settings for user namespaces, with their names for `sysctl`.
    pub settings: Vec<(&'static str, u64)>,
    /// The id ranges that are granted to the user.
    pub grant: namespace::Grant,
    /// Whether the id ranges can be mapped.
    pub ranges: Probe,
    /// Whether PRoot works without seccomp, as in mode P2.
    pub tracing: Probe,
    /// `kernel.yama.ptrace_scope`; `None` if the kernel has no such setting.
    pub ptrace_scope: Option<u64>,
    /// Whether PRoot works with seccomp, as in mode P1.
    pub accelerated_tracing: Probe,
    /// Whether processes may install seccomp filters.
    pub filters: Probe,
    /// Whether Apptainer or Singularity is installed, which mode S1 needs.
    pub apptainer: bool,
    /// Whether the system call `openat2` works.
    pub openat2: Probe,
    /// The directories for engines and temporary files.
    pub directories: Vec<ProbedDir>,
    /// The repository's directory for containers.
    pub repository: Repository,
    /// The proxies for registries.
    pub proxies: Proxies,
    /// The number of trusted certificate authorities beside the built-in ones.
    pub authorities: Result<usize, String>,
    /// Whether the registry answers; `None` if none is to be contacted.
    pub registry: Option<(RegistryUrl, Probe)>,
}

/// A directory in which files are created and executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedDir {
    /// Its purpose.
    pub purpose: Purpose,
    /// The directory; if it is missing, the nearest existing parent is examined.
    pub path: PathBuf,
    /// What can be done in it.
    pub state: DirState,
}

/// The purpose of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The unpacked engine.
    Engine,
    /// Temporary files.
    TemporaryFiles,
}

/// What can be done in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirState {
    /// Files can be written and executed.
    Usable,
    /// Files cannot be executed.
    NotExecutable(String),
    /// Files cannot be written.
    NotWritable(String),
}

/// The repository's directory for containers.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The directory; if it is missing, the nearest existing parent is examined.
    pub path: PathBuf,
    /// Whether files can be written in it.
    pub writable: Probe,
    /// Whether files in it can be executed.
    pub executable: Probe,
    /// Its file system.
    pub file_system: Option<FileSystem>,
    /// Whether files can share blocks until one is changed (reflinks).
    pub reflinks: Probe,
    /// Whether processes can lock files.
    pub locks: Probe,
    /// Free bytes.
    pub free_bytes: u64,
    /// Free inodes; `None` if the file system creates them as needed.
    pub free_inodes: Option<u64>,
}

impl Facts {
    /// Gathers the facts. This takes a fraction of a second, plus the answer of the registry. The
    /// process must have one thread only.
    pub fn gather(request: &Request<'_>) -> Facts {
        let engine = request.engine;
        Facts {
            machine: Machine::look_up(),
            namespaces: namespace::probe().map_err(|error| match error {
                EngineError::Unavailable { reason, .. } => reason.cause,
                _ => namespace::Cause::Policy,
            }),
            settings: namespace::Cause::settings(),
            grant: namespace::Grant::look_up(),
            ranges: as_text(namespace::probe_ranges()),
            tracing: as_text(proot::probe(engine, false)),
            ptrace_scope: read_number("/proc/sys/kernel/yama/ptrace_scope"),
            accelerated_tracing: as_text(proot::probe(engine, true)),
            filters: as_text(engine::filter::probe()),
            apptainer: engine::has_apptainer(engine),
            openat2: as_text(openat2()),
            directories: [
                (Purpose::Engine, &engine.bin_dir),
                (Purpose::TemporaryFiles, &engine.tmp_dir),
            ]
            .map(|(purpose, directory)| ProbedDir::look_at(purpose, directory))
            .into(),
            repository: Repository::look_at(request.containers),
            proxies: request.proxies.clone(),
            authorities: as_text(request.trusted.count()),
            registry: request
                .registry
                .map(|(client, registry)| (registry.clone(), contact(client, registry))),
        }
    }
}

fn as_text<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Returns the system's message, without the path that a library adds.
fn system_message(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.to_string(),
        None => error.kind().to_string(),
    }
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Opens the root directory, which only the kernel can refuse.
fn openat2() -> io::Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, ".", flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok(())
}

fn contact(client: &Client, registry: &RegistryUrl) -> Probe {
    match client.check_auth(registry) {
        // The registry answers, though it requires a login.
        Ok(_) | Err(RegistryError::LoginRequired { .. } | RegistryError::Denied { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the directory, or the nearest parent that exists.
fn nearest_existing(directory: &Path) -> &Path {
    let found = directory.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/"))
}

impl ProbedDir {
    fn look_at(purpose: Purpose, directory: &Path) -> ProbedDir {
        ProbedDir {
            purpose,
            path: directory.to_path_buf(),
            state: DirState::look_at(nearest_existing(directory)),
        }
    }
}

impl DirState {
    fn look_at(directory: &Path) -> DirState {
        match script_in(directory) {
            Err(error) => DirState::NotWritable(system_message(&error)),
            Ok(script) => match process::output(&script, &[""; 0], &[]) {
                Ok(_) => DirState::Usable,
                Err(error) => DirState::NotExecutable(error.to_string()),
            },
        }
    }
}

/// Creates a script that does nothing; its file is removed when the value is dropped.
fn script_in(directory: &Path) -> io::Result<tempfile::TempPath> {
    let mut file = tempfile::Builder::new()
        .prefix(".udocker-doctor-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempfile_in(directory)?;
    file.write_all(b"#!/bin/sh\n")?;
    // A file that is open for writing cannot be executed.
    Ok(file.into_temp_path())
}

impl Repository {
    fn look_at(directory: &Path) -> Repository {
        let path = nearest_existing(directory);
        let space = rustix::fs::statvfs(path).ok();
        Repository {
            path: directory.to_path_buf(),
            // Not by writing a file, which a full disk would refuse too.
            writable: as_text(rustix::fs::access(path, Access::WRITE_OK)),
            executable: match DirState::look_at(path) {
                DirState::NotExecutable(reason) => Err(reason),
                DirState::NotWritable(_) if !allows_execution(path) => Err("noexec".to_string()),
                DirState::Usable | DirState::NotWritable(_) => Ok(()),
            },
            file_system: FileSystem::of(path).ok(),
            reflinks: as_text(can_share_blocks(path)),
            locks: check_locks(path).map_err(|error| system_message(&error)),
            free_bytes: space
                .as_ref()
                .map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize)),
            free_inodes: space
                .filter(|space| space.f_files > 0)
                .map(|space| space.f_favail),
        }
    }
}

/// Checks that a file cannot be locked twice.
fn check_locks(directory: &Path) -> io::Result<()> {
    match tempfile::NamedTempFile::new_in(directory) {
        Ok(file) => lock_twice(file.as_file(), file.path()),
        // In a directory that cannot be written, the directory itself is locked.
        Err(_) => lock_twice(&File::open(directory)?, directory),
    }
}

fn lock_twice(first: &File, path: &Path) -> io::Result<()> {
    let exclusively = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive);
    // Another process may hold a lock on the directory.
    match exclusively(first) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        result => result?,
    }
    match exclusively(&File::open(path)?) {
        Err(Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(io::Error::other("a second lock was granted")),
    }
}
