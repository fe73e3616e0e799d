//! Errors of commands: message, causes, hints and exit status.

use std::error::Error;
use std::fmt::Display;
use std::{io, iter};

use crate::archive::ArchiveError;
use crate::config::ConfigError;
use crate::container::ContainerError;
use crate::host::fs::is_storage_full;
use crate::image::ImageError;
use crate::registry::{RegistryError, Unreachable, Wait};
use crate::rootfs::RootfsError;
use crate::store::StoreError;
use crate::ui::Printer;

/// Advice about a full disk.
const MAKE_ROOM: &str = "free some space, for example with `udocker gc` or `udocker rm`, or use \
                         another disk with UDOCKER_DIR, UDOCKER_LAYERS and UDOCKER_CONTAINERS";

/// Returns advice about a damaged image. Getting it again replaces the damaged parts.
pub(super) fn get_again(image: &str) -> String {
    format!(
        "get it again as before, with `udocker pull {image}`, `udocker load` or \
         `udocker import`"
    )
}

/// The kind of an error, which decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is not valid.
    Usage,
    /// The operation failed.
    Failed,
    /// The container could not be started; contains the exit status of `run`.
    Start(u8),
    /// The reader of stdout has closed it. Nothing is printed.
    BrokenPipe,
}

/// An error of a command, ready to be printed.
#[derive(Debug)]
pub struct CommandError {
    kind: Kind,
    message: String,
    /// The causes of the error, the nearest first.
    causes: Vec<String>,
    hints: Vec<String>,
}

impl CommandError {
    /// Makes the error of a failed operation.
    pub fn failed(message: impl Display) -> CommandError {
        CommandError::new(Kind::Failed, message)
    }

    /// Makes the error of an operation that failed with `error`. `--debug` shows its causes.
    pub fn from_error(error: impl Error) -> CommandError {
        let causes = iter::successors(error.source(), |&cause| cause.source());
        CommandError {
            causes: causes.map(ToString::to_string).collect(),
            ..CommandError::failed(&error)
        }
    }

    /// Makes the error of an invalid command line.
    pub fn usage(message: impl Display) -> CommandError {
        CommandError::new(Kind::Usage, message)
    }

    /// Makes the error of a container that could not be started.
    pub fn start(status: u8, message: impl Display) -> CommandError {
        CommandError::new(Kind::Start(status), message)
    }

    /// Makes the error of an archive that could not be written.
    pub fn output(error: io::Error) -> CommandError {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::BrokenPipe,
            _ => Kind::Failed,
        };
        CommandError::new(kind, format_args!("cannot write the archive: {error}"))
    }

    fn new(kind: Kind, message: impl Display) -> CommandError {
        CommandError {
            kind,
            message: message.to_string(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Adds advice for the user.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> CommandError {
        self.hints.push(hint.into());
        self
    }

    /// Adds advice, if there is any.
    #[must_use]
    fn with_hints(mut self, hints: impl IntoIterator<Item: Into<String>>) -> CommandError {
        self.hints.extend(hints.into_iter().map(Into::into));
        self
    }

    /// Prepends what the user was doing: `cannot pull 'x'`.
    #[must_use]
    pub fn while_doing(mut self, action: impl Display) -> CommandError {
        self.message = format!("{action}: {}", self.message);
        self
    }

    /// Makes a failure one of starting a container.
    #[must_use]
    pub fn at_start(mut self) -> CommandError {
        if self.kind == Kind::Failed {
            self.kind = Kind::Start(crate::commands::run::CANNOT_START);
        }
        self
    }

    /// Returns the exit status.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Failed => 1,
            Kind::Start(status) => status,
            // The status that a shell reports for a program killed by SIGPIPE.
            Kind::BrokenPipe => 141,
        }
    }

    /// Prints the error, its causes and its hints.
    pub fn report(&self, printer: &Printer) {
        if self.kind == Kind::BrokenPipe {
            return;
        }
        printer.error(&self.message);
        for cause in &self.causes {
            printer.debug(format_args!("caused by: {cause}"));
        }
        for hint in &self.hints {
            printer.hint(hint);
        }
    }
}

impl From<io::Error> for CommandError {
    /// Makes the error of writing results to stdout.
    fn from(error: io::Error) -> CommandError {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::BrokenPipe,
            _ => Kind::Failed,
        };
        CommandError::new(kind, format!("cannot write to standard output: {error}"))
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> CommandError {
        let hint = match &error {
            ConfigError::NoHome => Some("set HOME, or name a directory with `--repo=DIR`"),
            _ => None,
        };
        CommandError::from_error(error).with_hints(hint)
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> CommandError {
        let hint = match &error {
            StoreError::NoImage(image) => Some(format!("get it with `udocker pull {image}`")),
            StoreError::ImageExists(image) => Some(format!(
                "choose another name, or remove it with `udocker rmi {image}`"
            )),
            StoreError::NameTaken(name) => Some(format!(
                "choose another name, or remove that container with `udocker rm {name}`"
            )),
            StoreError::NoContainer(_) => Some("list containers with `udocker ps`".to_string()),
            StoreError::NoName(_) => Some("list names with `udocker ps`".to_string()),
            StoreError::Protected(name) => {
                Some(format!("allow it with `udocker unprotect {name}`"))
            }
            StoreError::DamagedImage { image, .. } | StoreError::DamagedManifest { image, .. } => {
                Some(get_again(image))
            }
            StoreError::Fs(error) if error.is_storage_full() => Some(MAKE_ROOM.to_string()),
            _ if error.is_read_only() => Some(
                "choose a repository that you can write to, with `--repo=DIR` or UDOCKER_DIR"
                    .to_string(),
            ),
            _ => None,
        };
        CommandError::from_error(error).with_hints(hint)
    }
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> CommandError {
        let hint = match &error {
            RegistryError::LoginRequired { registry, .. }
            | RegistryError::BadCredentials { registry, .. }
            | RegistryError::CatalogLogin { registry, .. } => {
                Some(format!("log in with `udocker login --registry={registry}`"))
            }
            RegistryError::RateLimited { .. } => Some(
                "wait, or log in with `udocker login`: limits are higher for users with a login"
                    .to_string(),
            ),
            RegistryError::NoSuchManifest {
                registry,
                repository,
                ..
            } => Some(format!(
                "list the tags it has with `udocker search --list-tags {}`",
                registry.repository_text(repository)
            )),
            RegistryError::NoSuchPlatform { available, .. } if !available.is_empty() => {
                Some("choose one of them with `--platform=OS/ARCH[/VARIANT]`".to_string())
            }
            RegistryError::Unreachable { source, .. } if source.is_plain() => Some(
                "for a registry that has no https, write `http://` before its name".to_string(),
            ),
            RegistryError::Unreachable { source, .. } if source.is_untrusted() => Some(
                "name a file with its authority's certificate in SSL_CERT_FILE, or accept any \
                 certificate with `--insecure`"
                    .to_string(),
            ),
            RegistryError::Unreachable {
                source,
                proxy: Some(_),
                ..
            } if source.is_of_connecting() => Some(
                "name another proxy with `--httpproxy=URL` or in https_proxy and http_proxy, as \
                 http://USER:PASSWORD@HOST:PORT if it requires a login, or list the host in \
                 no_proxy"
                    .to_string(),
            ),
            RegistryError::Unreachable { source, .. }
            | RegistryError::Interrupted { source, .. }
                if let Some(key) = key_of_limit(source) =>
            {
                Some(format!(
                    "a longer wait can be set in ~/.udocker/udocker.conf, as `{key} = SECONDS` \
                     below `[DEFAULT]`"
                ))
            }
            RegistryError::NoSearch { .. } => Some(
                "list the tags of a repository with `udocker search --list-tags REPOSITORY`"
                    .to_string(),
            ),
            RegistryError::Sink { source, .. } if is_storage_full(source) => {
                Some(MAKE_ROOM.to_string())
            }
            _ => None,
        };
        CommandError::from_error(error).with_hints(hint)
    }
}

/// Returns the configuration key for the time limit that was exceeded.
fn key_of_limit(source: &Unreachable) -> Option<&'static str> {
    match source {
        Unreachable::TimedOut(Wait::Connection, _) => Some("ctimeout"),
        Unreachable::TimedOut(Wait::Document, _) => Some("timeout"),
        Unreachable::TimedOut(Wait::Blob, _) => Some("download_timeout"),
        _ => None,
    }
}

impl From<ImageError> for CommandError {
    fn from(error: ImageError) -> CommandError {
        match error {
            ImageError::Registry(error) => error.into(),
            ImageError::Store(error) => error.into(),
            ImageError::Platform { ref found, .. } => {
                let hint = format!("use it anyway with `--platform={found}`");
                CommandError::from_error(error).with_hint(hint)
            }
            ImageError::Archive(ArchiveError::Write(error)) => CommandError::output(error),
            ImageError::Fs(error) => StoreError::from(error).into(),
            ImageError::Archive(ArchiveError::Keep { ref source, .. })
                if is_storage_full(source) =>
            {
                CommandError::from_error(error).with_hint(MAKE_ROOM)
            }
            ImageError::Archive(ArchiveError::NoImages) => CommandError::from_error(error)
                .with_hint("import a root file system with `udocker import`"),
            ImageError::OneNameForMany { .. } => CommandError::from_error(error)
                .with_hint("leave the tag out, so that each image keeps its own"),
            _ => CommandError::from_error(error),
        }
    }
}

impl From<ContainerError> for CommandError {
    fn from(error: ContainerError) -> CommandError {
        match error {
            ContainerError::Store(error) => error.into(),
            ContainerError::Image(error) => error.into(),
            ContainerError::Tied { ref container, .. } => {
                let hint =
                    format!("undo it with `udocker.py setup --force --execmode=P1 {container}`");
                CommandError::from_error(error).with_hint(hint)
            }
            ContainerError::Rootfs(RootfsError::Output(error)) => CommandError::output(error),
            ContainerError::Rootfs(error) => {
                let hint = match &error {
                    _ if error.is_storage_full() => Some(MAKE_ROOM),
                    _ if error.is_mounted() => Some("unmount it first, with `umount`"),
                    RootfsError::Limit { what: "bytes", .. } => {
                        Some("raise the limit with UDOCKER_MAX_UNPACKED_MB")
                    }
                    _ => None,
                };
                CommandError::from_error(error).with_hints(hint)
            }
            ContainerError::NoScratch(error) => CommandError::from_error(error)
                .with_hint("name another directory for temporary files with UDOCKER_TMP or TMPDIR"),
            ContainerError::Fs(error) => StoreError::from(error).into(),
            other => CommandError::from_error(other),
        }
    }
}
