//! What can be found out about this host, mostly by doing it once.

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

/// What is to be looked at.
pub struct Request<'a> {
    /// How engines are started.
    pub engine: &'a EngineOptions,
    /// The repository's folder for containers, there or not.
    pub containers: &'a Path,
    /// The proxies for registries.
    pub proxies: &'a Proxies,
    /// The certificates that the user named.
    pub trusted: &'a TrustedCertificates,
    /// The registry to reach, where one is.
    pub registry: Option<(&'a Client, &'a RegistryUrl)>,
}

/// Whether something works; the reason where it does not.
pub type Probe = Result<(), String>;

/// What was found out. Proxies may hold passwords, so it cannot be shown as a whole.
#[derive(Clone)]
pub struct Facts {
    /// The machine and its kernel.
    pub machine: Machine,
    /// Whether user namespaces can be had, as mode R1 needs them.
    pub namespaces: Result<(), namespace::Cause>,
    /// The kernel's settings for user namespaces, by their names for `sysctl`.
    pub settings: Vec<(&'static str, u64)>,
    /// Further ids of the user.
    pub grant: namespace::Grant,
    /// Whether these can be mapped.
    pub ranges: Probe,
    /// Whether PRoot works, as mode P2 needs it.
    pub tracing: Probe,
    /// `kernel.yama.ptrace_scope`, where there is one.
    pub ptrace_scope: Option<u64>,
    /// Whether PRoot works with seccomp, as mode P1 runs it.
    pub accelerated_tracing: Probe,
    /// Whether processes may filter their system calls.
    pub filters: Probe,
    /// Whether there is the program that mode S1 is about.
    pub apptainer: bool,
    /// Whether the kernel resolves paths below a directory.
    pub openat2: Probe,
    /// Folders for engines and temporary files.
    pub places: Vec<ProbedDir>,
    /// Where containers are.
    pub repository: Repository,
    /// The proxies for registries.
    pub proxies: Proxies,
    /// How many certificate authorities are trusted beside the built-in ones.
    pub authorities: Result<usize, String>,
    /// Whether the registry answers; `None` where nobody asked.
    pub registry: Option<(RegistryUrl, Probe)>,
}

/// A folder that things are to be written to and executed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedDir {
    /// What it is for.
    pub purpose: Purpose,
    /// The folder; while it is missing, the nearest one above is looked at.
    pub path: PathBuf,
    /// What can be done there.
    pub state: PlaceState,
}

/// What a directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The unpacked engine.
    Engine,
    /// Temporary files.
    TemporaryFiles,
}

/// What can be done in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceState {
    /// Files can be written and executed.
    Usable,
    /// Files cannot be executed.
    NotExecutable(String),
    /// Files cannot be written.
    NotWritable(String),
}

/// The place of containers.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The folder; while it is missing, the nearest one above is looked at.
    pub path: PathBuf,
    /// Whether files can be written there.
    pub writable: Probe,
    /// Whether files can be executed there.
    pub executable: Probe,
    /// What it is on.
    pub file_system: Option<FileSystem>,
    /// Whether files can share their content until one is changed.
    pub reflinks: Probe,
    /// Whether processes can lock files.
    pub locks: Probe,
    /// Free bytes.
    pub free_bytes: u64,
    /// Free inodes; `None` where they are made as needed.
    pub free_inodes: Option<u64>,
}

impl Facts {
    /// Finds out. Takes a fraction of a second, with a registry as long as its answer. To be called
    /// while the process has one thread.
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
            ranges: said(namespace::probe_ranges()),
            tracing: said(proot::probe(engine, false)),
            ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
            accelerated_tracing: said(proot::probe(engine, true)),
            filters: said(engine::filter::probe()),
            apptainer: engine::has_apptainer(engine),
            openat2: said(openat2()),
            places: [
                (Purpose::Engine, &engine.bin_dir),
                (Purpose::TemporaryFiles, &engine.tmp_dir),
            ]
            .map(|(purpose, directory)| ProbedDir::look_at(purpose, directory))
            .into(),
            repository: Repository::look_at(request.containers),
            proxies: request.proxies.clone(),
            authorities: said(request.trusted.count()),
            registry: request
                .registry
                .map(|(client, registry)| (registry.clone(), reach(client, registry))),
        }
    }
}

fn said<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// What the system said, without the path that a library adds.
fn answer(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.to_string(),
        None => error.kind().to_string(),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Opens the root directory, as nothing but the kernel can refuse.
fn openat2() -> io::Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, ".", flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok(())
}

fn reach(client: &Client, registry: &RegistryUrl) -> Probe {
    match client.check_auth(registry) {
        // It answers, if not to everybody.
        Ok(_) | Err(RegistryError::LoginRequired { .. } | RegistryError::Denied { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The directory, or the nearest one above that exists.
fn existing(directory: &Path) -> &Path {
    let found = directory.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/"))
}

impl ProbedDir {
    fn look_at(purpose: Purpose, directory: &Path) -> ProbedDir {
        ProbedDir {
            purpose,
            path: directory.to_path_buf(),
            state: PlaceState::look_at(existing(directory)),
        }
    }
}

impl PlaceState {
    fn look_at(directory: &Path) -> PlaceState {
        match script_in(directory) {
            Err(error) => PlaceState::NotWritable(answer(&error)),
            Ok(script) => match process::output(&script, &[""; 0], &[]) {
                Ok(_) => PlaceState::Usable,
                Err(error) => PlaceState::NotExecutable(error.to_string()),
            },
        }
    }
}

/// A script that does nothing, in a file that is gone with the value.
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
        let path = existing(directory);
        let space = rustix::fs::statvfs(path).ok();
        Repository {
            path: directory.to_path_buf(),
            // Access alone says no where a test would, too, for want of space.
            writable: said(rustix::fs::access(path, Access::WRITE_OK)),
            executable: match PlaceState::look_at(path) {
                PlaceState::NotExecutable(reason) => Err(reason),
                PlaceState::NotWritable(_) if !allows_execution(path) => Err("noexec".to_string()),
                PlaceState::Usable | PlaceState::NotWritable(_) => Ok(()),
            },
            file_system: FileSystem::of(path).ok(),
            reflinks: said(can_share_blocks(path)),
            locks: lock(path).map_err(|error| answer(&error)),
            free_bytes: space
                .as_ref()
                .map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize)),
            free_inodes: space
                .filter(|space| space.f_files > 0)
                .map(|space| space.f_favail),
        }
    }
}

/// Locks a file twice, where the second lock must not be had.
fn lock(directory: &Path) -> io::Result<()> {
    match tempfile::NamedTempFile::new_in(directory) {
        Ok(file) => lock_twice(file.as_file(), file.path()),
        // Where nothing can be written, what is there can be locked all the same.
        Err(_) => lock_twice(&File::open(directory)?, directory),
    }
}

fn lock_twice(first: &File, path: &Path) -> io::Result<()> {
    let exclusively = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive);
    // Somebody else may hold one on a directory.
    match exclusively(first) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        result => result?,
    }
    match exclusively(&File::open(path)?) {
        Err(Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(io::Error::other("locks are given and not kept")),
    }
}
