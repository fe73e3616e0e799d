//! From an image's configuration, the user's wishes and facts about the host to a [`RunSpec`]:
//! everything an engine needs to know, and nothing it would have to decide.
//!
//! This is pure: what the file system holds is asked through [`GuestView`], and what must be
//! written before the start is listed in [`RunSpec::preparations`].

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
pub use env::{DEFAULT_PATH, EnvError, EnvOption, GuestEnv, SearchPaths};
pub use guest::{
    Execution, FileType, GuestView, LookupError, Resolved, locate, resolve_guest_path,
};
pub use isolation::{HostName, HostNameError, Processes};
pub use mode::{ExecMode, ModeChoice, UnknownMode};
pub use name_files::NAME_FILES;
pub use path::{BeneathPath, GuestPath, HostPath, NotAbsolute};
pub use plan::plan_run;
pub use port::{CpuList, CpuListError, PortError, PortMapping};
pub use tmpfs::{Tmpfs, TmpfsError, TmpfsSize};
pub use user::{Accounts, Identity, UserError, UserSpec};
pub use volume::{
    Access, Bind, DRI_DIRECTORIES, SHARED_MEMORY, SYSTEM_DIRECTORIES, Volume, VolumeError,
};

use crate::host::facts::{Caller, Machine};
use crate::oci::ImageConfig;

/// What the user wants: the options of `udocker run`, read.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// The command's words; empty for the image's own.
    pub arguments: Vec<OsString>,
    /// `--entrypoint`; an empty list removes the image's.
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
    /// `--hostenv`.
    pub pass_host_env: bool,
    /// `-v`.
    pub volumes: Vec<Volume>,
    /// Whether the root tree may be written; `--read-only`.
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
    /// Whether it takes an engine that looks at every system call, whatever the program is.
    fn needs_tracer(&self) -> bool {
        self.kernel.is_some() || !self.ports.is_empty() || self.publish_all
    }

    /// Checks that the host has what is to be bound, before a container is made for the run.
    ///
    /// # Errors
    /// It has not; planning the run would fail alike.
    pub fn check_sources(&self, view: &dyn GuestView) -> Result<(), SpecError> {
        Ok(volume::check_sources(&self.devices, &self.volumes, view)?)
    }
}

/// What planning knows of the host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The calling user.
    pub caller: Caller,
    /// The machine.
    pub machine: Machine,
    /// The caller's environment.
    pub environment: GuestEnv,
}

/// What planning knows of the container.
#[derive(Clone, Debug)]
pub struct ContainerFacts {
    /// Its id; `None` for a root tree outside the repository, as `--location` names one.
    pub id: Option<String>,
    /// Its names.
    pub names: Vec<String>,
    /// How it is run.
    pub mode: ExecMode,
    /// Its root tree.
    pub root: HostPath,
    /// Where generated files go: its directory in the repository. Where there is none, as with
    /// `--location`, or none that can be written, a private temporary directory.
    pub directory: HostPath,
    /// The image's configuration.
    pub image: ImageConfig,
}

impl ContainerFacts {
    /// What the user sees as the container's id.
    pub fn shown_id(&self) -> &str {
        self.id.as_deref().unwrap_or("location")
    }
}

/// What emulated root has made of files is kept in this file beside the root tree.
pub const ATTRIBUTES_FILE: &str = "attributes";

/// The file in a container's directory that says that root inside had further ids once, so that
/// files may belong to them.
pub const ID_RANGES_FILE: &str = "id-ranges";

/// The file in a container's directory that lists the mount points that its runs have made.
pub const MOUNT_POINTS_FILE: &str = "mountpoints";

/// The empty file there, which stands in for mount points that are files.
pub const MOUNT_POINT_FILE: &str = "mountpoint";

/// A container's run, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpec {
    /// Which engine and how.
    pub mode: ExecMode,
    /// The root tree.
    pub root: HostPath,
    /// Whether it may be written, binds apart.
    pub root_access: Access,
    /// Where an engine may keep notes on the root tree beyond the run.
    pub directory: HostPath,
    /// The command, known to be executable.
    pub argv: Argv,
    /// The whole environment.
    pub env: GuestEnv,
    /// The current directory, known to be there once preparations are done.
    pub cwd: GuestPath,
    /// Whom to show.
    pub identity: Identity,
    /// Shallow targets first; no target twice; targets without symbolic links.
    pub binds: Vec<Bind>,
    /// Kernel release to show.
    pub kernel: Option<String>,
    /// Name of the machine to show.
    pub host_name: Option<HostName>,
    /// Whose processes to show.
    pub processes: Processes,
    /// Ports to map.
    pub ports: Vec<PortMapping>,
    /// Whether to map all other ports to free ones.
    pub publish_all: bool,
    /// CPUs to stay on.
    pub cpus: Option<CpuList>,
    /// The host's emulator for a container of another architecture.
    pub emulator: Option<HostPath>,
    /// To be done before the start, in this order.
    pub preparations: Vec<Preparation>,
    /// To be shown to the user.
    pub warnings: Vec<Warning>,
}

impl RunSpec {
    /// Whether it takes an engine that looks at every system call: another kernel release, mapped
    /// ports, programs for another architecture.
    pub fn needs_tracer(&self) -> bool {
        self.kernel.is_some()
            || !self.ports.is_empty()
            || self.publish_all
            || self.emulator.is_some()
    }
}

#[cfg(test)]
impl RunSpec {
    /// One that asks for nothing: `sh -c ''` of the caller in `/w` of the tree `/c/ROOT`.
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
    /// A directory for a bind to lie on. PRoot gets along without it, and namespaces make their
    /// own.
    MountDirectory(BeneathPath),
    /// An empty file for a bind to lie on, likewise.
    MountFile(BeneathPath),
    /// The image's working directory.
    WorkingDirectory(BeneathPath),
    /// Lines at the end of a file of the container. They only give names to ids, so a container
    /// that cannot be written runs without them.
    Append {
        /// The file.
        path: BeneathPath,
        /// Whole lines.
        text: String,
    },
    /// A file named after its content: one that is there is right, whatever it holds by now.
    Generate {
        /// The file.
        path: HostPath,
        /// What it holds at first.
        text: String,
    },
}

/// Something the user should know, though it does not stop the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// `--novol` names no volume.
    NotAVolume(String),
    /// The image listens on ports that only root may use.
    PrivilegedPorts(Vec<u16>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NotAVolume(name) => write!(f, "`--novol` of '{name}', which is no volume"),
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

/// Why a container cannot be run as wished.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// About volumes and devices.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// About `-u`.
    #[error(transparent)]
    User(#[from] UserError),
    /// About the image's `User`.
    #[error("the image's configuration is damaged: {0}")]
    ImageUser(#[source] UserError),
    /// A NUL byte in the image's command, environment, or what else is passed on to a program.
    #[error("the image's configuration is damaged: it holds a NUL byte")]
    ImageNul,
    /// About the command.
    #[error(transparent)]
    Command(#[from] ExecutableError),
    /// The root tree is not there.
    #[error("the root directory '{0}' of the container does not exist")]
    NoRoot(HostPath),
    /// The current directory is not there.
    #[error("working directory '{0}' does not exist in the container")]
    NoWorkdir(GuestPath),
    /// The current directory is not absolute.
    #[error("invalid working directory: {0}")]
    RelativeWorkdir(#[from] NotAbsolute),
    /// The current directory runs in circles, or its path is too long.
    #[error("invalid working directory: {0}")]
    Lookup(#[from] LookupError),
    /// A kernel release that PRoot would take for something else.
    #[error("invalid kernel release '{0}'")]
    Kernel(String),
}

impl SpecError {
    /// The exit status that Docker and shells have for this: 125, 126 or 127.
    pub fn exit_status(&self) -> u8 {
        match self {
            SpecError::Command(error) if error.is_not_found() => 127,
            SpecError::Command(_) => 126,
            _ => 125,
        }
    }
}
