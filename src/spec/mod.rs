//! Plans a run: turns the image's configuration, the user's options and facts about the host into
//! a [`RunSpec`], which holds all decisions, so that engines make none.
//!
//! Planning is pure: it reads the file system through [`GuestView`] only, and lists in
//! [`RunSpec::preparations`] what must be written before the start.

mod accounts;
mod apt;
mod command;
mod env;
mod executable;
mod guest;
mod isolation;
mod mode;
mod name_files;
mod path;
mod plan;
mod port;
mod tmpfs;
mod user;
mod volume;

use std::ffi::OsString;
use std::fmt;

pub use command::{Argv, ExecutableError, parse_entrypoint};
pub use env::{
    ALWAYS_PASSED, DEFAULT_PATH, EnvError, EnvOption, GuestEnv, HostVariables, NEVER_PASSED,
    SearchPaths,
};
pub use guest::{
    Execution, FileType, GuestView, LookupError, Resolved, locate, resolve_guest_path,
};
pub use isolation::{HostName, HostNameError, Processes};
pub use mode::{ExecMode, ModeChoice, UnknownMode};
pub use path::{BeneathPath, GuestPath, HostPath, NotAbsolute, has_separator};
pub use plan::plan_run;
pub use port::{CpuList, CpuListError, PortError, PortMapping};
pub use tmpfs::{Tmpfs, TmpfsError, TmpfsSize};
pub use user::{Accounts, Identity, UserError, UserSpec};
pub use volume::{Access, Bind, SHARED_MEMORY, Volume, VolumeError};

use crate::host::facts::{Caller, Machine};
use crate::oci::ImageConfig;

/// The parsed options of `udocker run`.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// The command's words; if empty, the image's command is run.
    pub arguments: Vec<OsString>,
    /// `--entrypoint`; an empty list removes the image's entrypoint.
    pub entrypoint: Option<Vec<OsString>>,
    /// `-w`.
    pub workdir: Option<OsString>,
    /// `-u`.
    pub user: Option<UserSpec>,
    /// `--hostauth`, `--containerauth`.
    pub accounts: Accounts,
    /// `--env-file` and then `-e`, in the order given.
    pub env: Vec<EnvOption>,
    /// The configuration keys `root_path` and `user_path`.
    pub search_paths: SearchPaths,
    /// The configuration keys `valid_host_env` and `invalid_host_env`.
    pub host_variables: HostVariables,
    /// `--hostenv`.
    pub pass_host_env: bool,
    /// `-v`.
    pub volumes: Vec<Volume>,
    /// `--read-only`: whether the guest may write to the root tree.
    pub root_access: Access,
    /// `--device`.
    pub devices: Vec<Volume>,
    /// `--novol`, as given.
    pub leave_out: Vec<String>,
    /// `--nosysdirs`.
    pub no_system_directories: bool,
    /// `--bindhome`.
    pub bind_home: bool,
    /// `--dri`.
    pub dri: bool,
    /// `--nometa`.
    pub ignore_image: bool,
    /// `-p`.
    pub ports: Vec<PortMapping>,
    /// `-P`.
    pub publish_all: bool,
    /// `--cpuset-cpus`.
    pub cpus: Option<CpuList>,
    /// `--kernel`.
    pub kernel: Option<String>,
    /// `--hostname`.
    pub host_name: Option<HostName>,
    /// `--init`, `--pid`.
    pub processes: Processes,
}

impl RunRequest {
    /// Whether the options need an engine that traces system calls, whatever the program is.
    fn needs_tracer(&self) -> bool {
        self.kernel.is_some() || !self.ports.is_empty() || self.publish_all
    }

    /// Checks that the sources of all volumes exist on the host. It is called before a container is
    /// created for the run.
    ///
    /// # Errors
    /// A source does not exist; planning the run would fail with the same error.
    pub fn check_sources(&self, view: &dyn GuestView) -> Result<(), SpecError> {
        Ok(volume::check_sources(&self.volumes, view)?)
    }
}

/// Facts about the host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The calling user.
    pub caller: Caller,
    /// The machine.
    pub machine: Machine,
    /// The caller's environment.
    pub environment: GuestEnv,
}

/// Facts about the container.
#[derive(Clone, Debug)]
pub struct ContainerFacts {
    /// Its id; `None` for a root tree outside the repository, as `--location` names one.
    pub id: Option<String>,
    /// Its names.
    pub names: Vec<String>,
    /// Its execution mode.
    pub mode: ExecMode,
    /// Its root tree.
    pub root: HostPath,
    /// The directory for generated files: the container's directory in the repository, or a private
    /// temporary one if there is none, as with `--location`, or if it cannot be written.
    pub directory: HostPath,
    /// A private directory for files of this run alone; `None` if none could be created.
    pub run_directory: Option<HostPath>,
    /// The image's configuration.
    pub image: ImageConfig,
}

impl ContainerFacts {
    /// Returns what the user sees as the container's id.
    pub fn shown_id(&self) -> &str {
        self.id.as_deref().unwrap_or("location")
    }
}

/// The file in a container's directory that records attributes, such as owners, that emulated root
/// has given to files.
pub const ATTRIBUTES_FILE: &str = "attributes";

/// The file in a container's directory that marks that a run has used id ranges, so that files in
/// the root tree may belong to those ids.
pub const ID_RANGES_FILE: &str = "id-ranges";

/// The file in a container's directory that lists the mount points that runs have created.
pub const MOUNT_POINTS_FILE: &str = "mountpoints";

/// The empty file in a container's directory that mount points for files are hard links to.
pub const MOUNT_POINT_FILE: &str = "mountpoint";

/// A planned run: all that an engine needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpec {
    /// The execution mode, which selects the engine.
    pub mode: ExecMode,
    /// The root tree.
    pub root: HostPath,
    /// Whether the guest may write to the root tree outside of binds.
    pub root_access: Access,
    /// The directory where an engine may keep notes on the root tree beyond the run.
    pub directory: HostPath,
    /// The command, which has been found to be executable.
    pub argv: Argv,
    /// The whole environment.
    pub env: GuestEnv,
    /// The working directory, which exists once the preparations are done.
    pub cwd: GuestPath,
    /// The user that the guest sees itself as.
    pub identity: Identity,
    /// The binds, ordered by the depth of their targets. Targets are unique, and have no symbolic
    /// links in them.
    pub binds: Vec<Bind>,
    /// The kernel release that the guest sees.
    pub kernel: Option<String>,
    /// The host name that the guest sees.
    pub host_name: Option<HostName>,
    /// The processes that the guest sees.
    pub processes: Processes,
    /// The ports to map.
    pub ports: Vec<PortMapping>,
    /// Whether to map all other ports to free ones.
    pub publish_all: bool,
    /// The CPUs that the guest may run on.
    pub cpus: Option<CpuList>,
    /// The host's emulator for a command of another architecture.
    pub emulator: Option<HostPath>,
    /// What to write before the start, in this order.
    pub preparations: Vec<Preparation>,
    /// What to warn the user of.
    pub warnings: Vec<Warning>,
}

impl RunSpec {
    /// Whether the run needs an engine that traces system calls: for another kernel release, mapped
    /// ports, or programs of another architecture.
    pub fn needs_tracer(&self) -> bool {
        self.kernel.is_some()
            || !self.ports.is_empty()
            || self.publish_all
            || self.emulator.is_some()
    }
}

#[cfg(test)]
impl RunSpec {
    /// A run without options: the caller runs `sh -c ''` in `/w` of the root tree `/c/ROOT`.
    pub(crate) fn plain(mode: ExecMode) -> RunSpec {
        let path = |path: &str| HostPath::new(path).expect("an absolute path");
        RunSpec {
            mode,
            root: path("/c/ROOT"),
            root_access: Access::ReadWrite,
            directory: path("/c"),
            argv: Argv::of("sh".into(), vec!["-c".into(), "".into()]),
            env: GuestEnv::default(),
            cwd: GuestPath::root().join("w"),
            identity: Identity::Caller,
            binds: Vec::new(),
            kernel: None,
            host_name: None,
            processes: Processes::Hosts,
            ports: Vec::new(),
            publish_all: false,
            cpus: None,
            emulator: None,
            preparations: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Something to write before the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// A directory that a bind is mounted on. PRoot shows binds without one too, and the namespace
    /// engine creates its own.
    MountDirectory(BeneathPath),
    /// An empty file that a bind is mounted on, with the same exceptions.
    MountFile(BeneathPath),
    /// The image's working directory.
    WorkingDirectory(BeneathPath),
    /// Lines at the end of a file in the root tree. They only name ids, so a container that cannot
    /// be written runs without them.
    Append {
        /// The file.
        path: BeneathPath,
        /// Whole lines.
        text: String,
    },
    /// A file named after its initial content. One that exists is kept: the guest may have changed
    /// it since.
    Generate {
        /// The file.
        path: HostPath,
        /// The initial content.
        text: String,
    },
    /// A file for this run alone. If it cannot be written, because the disk is full, the container
    /// runs without it and its bind.
    WriteForRun {
        /// The file.
        path: HostPath,
        /// The content.
        text: String,
    },
}

/// A problem that does not stop the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// `--novol` names no volume.
    NotAVolume(String),
    /// The host has no such device.
    NoDevice(HostPath),
    /// A volume's source is an open file without a path.
    NoPath(HostPath),
    /// The image listens on ports that only root may use.
    PrivilegedPorts(Vec<u16>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NotAVolume(name) => write!(
                f,
                "`--novol={name}` has no effect: that is neither a default binding nor a volume"
            ),
            Warning::NoDevice(device) => write!(
                f,
                "`--device={device}` has no effect: this machine has no such device"
            ),
            Warning::NoPath(source) => write!(
                f,
                "`-v {source}` has no effect: it is a pipe, a socket or a deleted file, \
                 which cannot be bound"
            ),
            Warning::PrivilegedPorts(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                let ports = ports.join(", ");
                write!(
                    f,
                    "the image exposes ports below 1024 ({ports}), which need `--publish` to work"
                )
            }
        }
    }
}

/// Why a run cannot be planned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A volume or device is invalid.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The user of `-u` is invalid or unknown.
    #[error(transparent)]
    User(#[from] UserError),
    /// The image's `User` is malformed.
    #[error("the image's configuration is damaged: {0}")]
    ImageUser(#[source] UserError),
    /// The image's configuration has a NUL byte in a text that is passed on to programs.
    #[error("the image's configuration is damaged: it holds a NUL byte")]
    ImageNul,
    /// The command cannot be executed.
    #[error(transparent)]
    Command(#[from] ExecutableError),
    /// The root tree does not exist.
    #[error("the root directory '{0}' of the container does not exist")]
    NoRoot(HostPath),
    /// The working directory does not exist.
    #[error("working directory '{0}' does not exist in the container")]
    NoWorkdir(GuestPath),
    /// The working directory is not absolute.
    #[error("invalid working directory: {0}")]
    RelativeWorkdir(#[from] NotAbsolute),
    /// The working directory has too many symbolic links, or its path is too long.
    #[error("invalid working directory: {0}")]
    Lookup(#[from] LookupError),
    /// The kernel release has characters that PRoot would misread.
    #[error("invalid kernel release '{0}'")]
    Kernel(String),
}

impl SpecError {
    /// Returns the exit status that Docker and shells use for this error: 125, 126 or 127.
    pub fn exit_status(&self) -> u8 {
        match self {
            SpecError::Command(error) if error.is_not_found() => 127,
            SpecError::Command(_) => 126,
            _ => 125,
        }
    }
}
