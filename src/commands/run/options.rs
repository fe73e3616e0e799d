//! The options of `udocker run` that make up the [`RunRequest`].

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::ValueEnum;

use crate::commands::options::{given, given_of, parse_bool};
use crate::commands::{CommandError, Context};
use crate::host::fs::read_named;
use crate::spec::{
    Accounts, EnvError, EnvOption, PortMapping, RunRequest, UserSpec, Volume, VolumeError,
    parse_entrypoint,
};

const ENV_FILE_MAX_BYTES: u64 = 16 << 20;

/// When to pull an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// If it is not here.
    #[value(alias = "")]
    Missing,
    /// Not at all.
    Never,
    /// Whether it is here or not.
    Always,
    /// If the container of `--name` is not here, nor the image.
    Reuse,
}

/// How to run the container.
#[derive(Debug, clap::Args)]
pub struct SpecArgs {
    /// Working directory inside, which must exist
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<OsString>,
    /// User inside: a name, or numbers shown as given; the image's by default, else root
    #[arg(short = 'u', long, value_name = "NAME|UID[:GID]")]
    user: Option<String>,
    /// Bind a file or directory of the host
    #[arg(short = 'v', long = "volume", value_name = "HOST[:CONTAINER[:ro|rw]]")]
    volumes: Vec<OsString>,
    /// Leave out one of the default bindings
    #[arg(long, value_name = "DIR")]
    novol: Vec<String>,
    /// Set a variable; a name alone takes the host's value
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<OsString>,
    /// Pass the host's environment
    #[arg(long)]
    hostenv: bool,
    /// Use the host's passwd and group
    #[arg(long)]
    hostauth: bool,
    /// Use the container's passwd and group untouched
    #[arg(long)]
    containerauth: bool,
    /// Bind the user's home directory
    #[arg(long)]
    bindhome: bool,
    /// Leave out the default bindings: /dev /proc /sys /etc/resolv.conf /etc/host.conf /lib/modules;
    /// copies of /etc/hosts /etc/hostname where the container has none
    #[arg(long)]
    nosysdirs: bool,
    /// Ignore the image's configuration
    #[arg(long)]
    nometa: bool,
    /// Bind what direct rendering needs
    #[arg(long)]
    dri: bool,
    /// CPUs to run on, as in 0,2-3
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Replace the image's entrypoint; empty removes it
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<OsString>,
    /// Kernel release to show
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Map a port of the container to one of the host
    #[arg(short = 'p', long = "publish", value_name = "HOST:CONTAINER")]
    publish: Vec<String>,
    /// Map all ports of the container to free ones of the host
    #[arg(short = 'P', long, alias = "netcoop", value_name = "BOOL", value_parser = parse_bool,
          num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", hide_default_value = true)]
    publish_all: bool,
    /// Pass a device
    #[arg(long = "device", value_name = "/dev/…")]
    devices: Vec<OsString>,
}

impl SpecArgs {
    /// Parses the options.
    ///
    /// # Errors
    /// The value of an option is invalid, or an `--env-file` cannot be read.
    pub(super) fn request(&self, context: &Context) -> Result<RunRequest, CommandError> {
        type Parse = fn(&OsStr) -> Result<Volume, VolumeError>;
        let parse_all = |texts: &mut dyn Iterator<Item = &OsString>, parse: Parse| {
            let parsed = texts.map(|text| parse(text));
            parsed
                .collect::<Result<Vec<Volume>, _>>()
                .map_err(CommandError::failed)
        };
        Ok(RunRequest {
            entrypoint: self.entrypoint.as_deref().map(parse_entrypoint),
            workdir: given(&self.workdir).map(OsStr::to_os_string),
            user: given(&self.user)
                .map(UserSpec::parse)
                .transpose()
                .map_err(CommandError::failed)?,
            accounts: match (self.containerauth, self.hostauth) {
                (true, _) => Accounts::Container,
                (false, true) => Accounts::Host,
                (false, false) => Accounts::Completed,
            },
            env: self.variables(context)?,
            search_paths: context.settings.search_paths.clone(),
            host_variables: context.settings.host_variables.clone(),
            pass_host_env: self.hostenv,
            volumes: parse_all(&mut self.volumes.iter(), Volume::parse)?,
            devices: parse_all(&mut given_of(&self.devices), Volume::parse_device)?,
            leave_out: self.novol.clone(),
            no_system_directories: self.nosysdirs,
            bind_home: self.bindhome,
            dri: self.dri,
            ignore_image: self.nometa,
            ports: self
                .publish
                .iter()
                .map(|text| PortMapping::parse(text))
                .collect::<Result<Vec<_>, _>>()
                .map_err(CommandError::failed)?
                .concat(),
            publish_all: self.publish_all,
            cpus: given(&self.cpuset_cpus)
                .map(str::parse)
                .transpose()
                .map_err(CommandError::failed)?,
            kernel: given(&self.kernel).map(str::to_string),
            ..RunRequest::default()
        })
    }

    /// Parses the files of `--env-file`, then the values of `-e`. Scripts set variables whose names
    /// are empty, which udocker.py ignores.
    fn variables(&self, context: &Context) -> Result<Vec<EnvOption>, CommandError> {
        let mut variables = Vec::new();
        for file in given_of(&self.env_file).map(Path::new) {
            let bytes = read_named(file, ENV_FILE_MAX_BYTES).map_err(CommandError::failed)?;
            let from_file = EnvOption::parse_file(&bytes).map_err(|error| {
                CommandError::failed(error).while_doing(format_args!("'{}'", file.display()))
            })?;
            variables.extend(from_file);
        }
        for text in given_of(&self.env) {
            match EnvOption::parse(text) {
                Ok(variable) => variables.push(variable),
                Err(EnvError(text)) => context.printer.warning(format_args!(
                    "`-e {text}` has no effect: the variable has no name"
                )),
            }
        }
        Ok(variables)
    }
}
