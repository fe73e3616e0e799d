//! Docker's options, so that Docker's command lines can be used unchanged.
//!
//! None of them is a syntax error. The table says what happens to each: it is honoured, or it is
//! accepted with one line that it has no effect, or it is refused with a reason, if the run would
//! not be what the user asked for.

mod mount;
mod table;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use crate::commands::options::parse_bool;
use crate::commands::{CommandError, Context};
use crate::container;
use crate::host::fs::{FsError, create_dir_all, write_atomic};
use crate::progress::Silent;
use crate::rootfs::remove_tree;
use crate::spec::{
    Access, GuestPath, HostPath, NotAbsolute, Processes, RunRequest, SHARED_MEMORY, Tmpfs,
    TmpfsSize, Volume,
};
use crate::store::Container;

use mount::{MountError, Mounted};
use table::{DockerOption, Kind, OPTIONS, Treatment};

/// The options of the table that are given, with their values.
#[derive(Debug)]
pub struct DockerArgs {
    given: Vec<(&'static DockerOption, Vec<String>)>,
}

/// Adds the options of the table, hidden from the help, since `docker run --help` explains them.
/// One of them is `-h`, so that the help itself has no short option.
impl clap::Args for DockerArgs {
    fn augment_args(command: Command) -> Command {
        let help = Arg::new("help")
            .long("help")
            .help("Print help")
            // The last one in the list.
            .display_order(usize::MAX)
            .action(ArgAction::Help);
        command
            .disable_help_flag(true)
            .arg(help)
            .args(OPTIONS.iter().map(DockerOption::to_arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        DockerArgs::augment_args(command)
    }
}

impl DockerOption {
    fn to_arg(&self) -> Arg {
        let mut arg = Arg::new(self.long)
            .long(self.long)
            .action(ArgAction::Append)
            .hide(true);
        if let Some(short) = self.short {
            arg = arg.short(short);
        }
        match self.kind {
            // For `--memory-swap -1`.
            Kind::Value => arg
                .value_parser(clap::value_parser!(OsString))
                .allow_hyphen_values(true),
            Kind::Stream => arg
                .value_parser(clap::value_parser!(OsString))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(""),
            Kind::Flag => arg
                .value_parser(parse_bool)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }
}

impl FromArgMatches for DockerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<DockerArgs, clap::Error> {
        let values = |option: &DockerOption| -> Vec<String> {
            if option.kind == Kind::Flag {
                let last = matches
                    .get_many::<bool>(option.long)
                    .and_then(Iterator::last);
                return last
                    .filter(|is_set| **is_set)
                    .map(bool::to_string)
                    .into_iter()
                    .collect();
            }
            let values = matches.get_many::<OsString>(option.long);
            values
                .into_iter()
                .flatten()
                .map(|value| value.to_string_lossy().into_owned())
                .collect()
        };
        let given = OPTIONS.iter().map(|option| (option, values(option)));
        Ok(DockerArgs {
            given: given.filter(|(_, values)| !values.is_empty()).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = DockerArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl DockerArgs {
    /// Applies the options to `request`, and tells which have no effect. Files that are created for
    /// the run are removed when the returned value is dropped.
    ///
    /// # Errors
    /// An option is refused, or its value is invalid; a file cannot be created.
    pub(super) fn apply(
        &self,
        request: &mut RunRequest,
        context: &Context,
    ) -> Result<Scratch, CommandError> {
        let mut scratch = Scratch::new(&context.settings.paths.tmp);
        let mut hosts = String::new();
        for (option, values) in &self.given {
            for value in values {
                match option.treatment {
                    Treatment::Silent => {}
                    Treatment::CidFile => check_cidfile(Path::new(value))?,
                    Treatment::NoEffect(reason) => no_effect(option, reason, context),
                    Treatment::Unless(fine, _) if value == fine => {}
                    Treatment::Unless(_, reason) => no_effect(option, reason, context),
                    Treatment::Refused(reason) => return Err(refusal(option, reason)),
                    Treatment::Network => match value.as_str() {
                        "host" => {}
                        "none" => {
                            let reason = "it cannot be cut off from the host's network";
                            return Err(refusal(option, reason));
                        }
                        _ => no_effect(option, "the host's network is used", context),
                    },
                    Treatment::ReadOnly => request.root_access = Access::ReadOnly,
                    Treatment::Mount => match mount::parse_mount(value).map_err(failed)? {
                        Mounted::Bind(volume) => request.volumes.push(volume),
                        Mounted::Empty(target, options) => {
                            request.volumes.push(scratch.empty(target, options)?);
                        }
                        Mounted::Nothing => {
                            no_effect(option, "the container keeps what is written", context);
                        }
                    },
                    Treatment::Tmpfs => {
                        let (target, options) = mount::parse_tmpfs(value).map_err(failed)?;
                        request.volumes.push(scratch.empty(target, options)?);
                    }
                    Treatment::SharedMemory => {
                        let size = value.parse().map_err(CommandError::failed)?;
                        // First, so that a volume of the user for the same target replaces it.
                        request.volumes.insert(0, shared_memory(size)?);
                    }
                    Treatment::HostName if value.is_empty() => {}
                    Treatment::HostName => {
                        request.host_name = Some(value.parse().map_err(CommandError::failed)?);
                    }
                    Treatment::Init if request.processes == Processes::Hosts => {
                        request.processes = Processes::Reaped;
                    }
                    Treatment::Init => {}
                    Treatment::Processes => match value.as_str() {
                        "host" => {}
                        "" | "private" => request.processes = Processes::Own,
                        _ => no_effect(option, "it sees the host's processes", context),
                    },
                    Treatment::AddHost => {
                        let line = mount::parse_host(value).ok_or_else(|| {
                            CommandError::failed(format_args!(
                                "invalid host '{value}': expected NAME:ADDRESS"
                            ))
                        })?;
                        hosts.push_str(&line);
                    }
                }
            }
        }
        if !hosts.is_empty() {
            // First, so that a volume of the user for the same file replaces it.
            request.volumes.insert(0, scratch.hosts(&hosts)?);
        }
        Ok(scratch)
    }

    /// Writes the container's id to the file of `--cidfile`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write_cidfile(&self, container: &Container) -> Result<(), CommandError> {
        for file in self.cidfiles() {
            write_atomic(Path::new(file), container.id.as_str().as_bytes(), 0o644)
                .map_err(CommandError::failed)?;
        }
        Ok(())
    }

    /// Refuses `--cidfile` for a root tree outside the repository, which has no id.
    ///
    /// # Errors
    /// The option is given.
    pub(super) fn refuse_cidfile(&self) -> Result<(), CommandError> {
        match self.cidfiles().next() {
            None => Ok(()),
            Some(_) => Err(CommandError::failed(
                "--cidfile is refused: what --location names is no container and has no id",
            )
            .at_start()),
        }
    }

    fn cidfiles(&self) -> impl Iterator<Item = &String> {
        self.given
            .iter()
            .filter(|(option, _)| option.treatment == Treatment::CidFile)
            .flat_map(|(_, values)| values)
    }
}

/// Checks, before a container is created, that the file can be created, and that it does not exist,
/// as Docker does, so that no two runs write to the same file.
fn check_cidfile(path: &Path) -> Result<(), CommandError> {
    if path.exists() {
        let path = path.display();
        return Err(
            CommandError::failed(format_args!("the --cidfile '{path}' is there already"))
                .with_hint("each run wants one of its own"),
        );
    }
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
    tempfile::tempfile_in(directory.unwrap_or(Path::new(".")))
        .map(drop)
        .map_err(FsError::at("write", path))
        .map_err(CommandError::failed)
}

fn no_effect(option: &DockerOption, reason: &str, context: &Context) {
    let printer = &context.printer;
    printer.info(format_args!("--{} has no effect: {reason}", option.long));
}

fn refusal(option: &DockerOption, reason: &str) -> CommandError {
    CommandError::failed(format_args!("--{} is refused: {reason}", option.long))
}

fn failed(error: MountError) -> CommandError {
    CommandError::failed(error)
}

/// A directory for files of one run, created when needed and removed at the end.
pub(super) struct Scratch {
    tmp: PathBuf,
    directory: Option<PathBuf>,
    count: usize,
}

impl Scratch {
    fn new(tmp: &Path) -> Scratch {
        Scratch {
            tmp: tmp.to_path_buf(),
            directory: None,
            count: 0,
        }
    }

    /// Returns a volume for a file system in memory at `target`; its source is a new empty
    /// directory, for engines that cannot mount one.
    fn empty(&mut self, target: GuestPath, options: Tmpfs) -> Result<Volume, CommandError> {
        let path = self.next()?;
        create_dir_all(&path).map_err(CommandError::failed)?;
        Ok(Volume {
            tmpfs: Some(options),
            ..volume(&path, target)?
        })
    }

    /// Returns a volume for `/etc/hosts`, as Docker generates it, with further `lines`.
    fn hosts(&mut self, lines: &str) -> Result<Volume, CommandError> {
        let path = self.next()?;
        let text = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{lines}");
        write_atomic(&path, text.as_bytes(), 0o644).map_err(CommandError::failed)?;
        let target = GuestPath::new("/etc/hosts").map_err(not_absolute)?;
        volume(&path, target)
    }

    fn next(&mut self) -> Result<PathBuf, CommandError> {
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => {
                let made = container::scratch_directory(&self.tmp)?;
                self.directory.insert(made.keep()).clone()
            }
        };
        self.count += 1;
        Ok(directory.join(self.count.to_string()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // A leftover among temporary files is no reason to change the status of the run.
            let _ = remove_tree(directory, &Silent);
        }
    }
}

fn volume(path: &Path, target: GuestPath) -> Result<Volume, CommandError> {
    Ok(Volume {
        source: HostPath::new(path).map_err(not_absolute)?,
        target,
        access: Access::ReadWrite,
        tmpfs: None,
    })
}

/// Returns a volume for `/dev/shm` of this size; its source is the host's `/dev/shm`, for engines
/// that cannot mount one.
fn shared_memory(size: TmpfsSize) -> Result<Volume, CommandError> {
    let place = Path::new(SHARED_MEMORY);
    let target = GuestPath::new(place).map_err(not_absolute)?;
    Ok(Volume {
        tmpfs: Some(Tmpfs::shared_memory(size)),
        ..volume(place, target)?
    })
}

fn not_absolute(error: NotAbsolute) -> CommandError {
    CommandError::failed(error)
}
