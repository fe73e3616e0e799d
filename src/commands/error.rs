//! What a command says when it fails, and the advice that goes with it.

use std::error::Error;
use std::fmt::Display;
use std::{io, iter};

use crate::archive::ArchiveError;
use crate::config::ConfigError;
use crate::container::ContainerError;
use crate::host::fs::is_storage_full;
use crate::image::ImageError;
use crate::registry::RegistryError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;
use crate::ui::Printer;

/// What to do about a full disk.
const MAKE_ROOM: &str = "make room, for one with `udocker gc` and `udocker rm`, or keep things \
                         elsewhere with UDOCKER_DIR, UDOCKER_LAYERS and UDOCKER_CONTAINERS";

/// What to do about a damaged image: whichever brings it replaces what is damaged of it.
pub(super) fn get_again(image: &str) -> String {
    format!(
        "get it again the way it came, with `udocker pull {image}`, `udocker load` or \
         `udocker import`"
    )
}

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line makes no sense.
    Usage,
    /// The operation failed.
    Failed,
    /// The container could not be started; the status `run` gives then.
    Start(u8),
    /// Whoever read stdout has gone; nothing is to be said.
    BrokenPipe,
}

/// A failure, ready to be shown.
#[derive(Debug)]
pub struct CommandError {
    kind: Kind,
    message: String,
    /// What led to it, the nearest cause first.
    causes: Vec<String>,
    hints: Vec<String>,
}

impl CommandError {
    /// An operation that failed.
    pub fn failed(message: impl Display) -> CommandError {
        CommandError::new(Kind::Failed, message)
    }

    /// An operation that failed with `error`, whose causes are shown with `--debug`.
    pub fn from_error(error: impl Error) -> CommandError {
        let causes = iter::successors(error.source(), |&cause| cause.source());
        CommandError {
            causes: causes.map(ToString::to_string).collect(),
            ..CommandError::failed(&error)
        }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Display) -> CommandError {
        CommandError::new(Kind::Usage, message)
    }

    /// A container that could not be started.
    pub fn start(status: u8, message: impl Display) -> CommandError {
        CommandError::new(Kind::Start(status), message)
    }

    /// An archive that could not be written.
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

    /// Adds advice that the user can act on.
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

    /// Says what the user was doing: `cannot pull 'x'`.
    #[must_use]
    pub fn while_doing(mut self, action: impl Display) -> CommandError {
        self.message = format!("{action}: {}", self.message);
        self
    }

    /// Makes it a failure to start a container.
    #[must_use]
    pub fn at_start(mut self) -> CommandError {
        if self.kind == Kind::Failed {
            self.kind = Kind::Start(crate::commands::run::CANNOT_START);
        }
        self
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Failed => 1,
            Kind::Start(status) => status,
            // What a shell reports for a program ended by SIGPIPE.
            Kind::BrokenPipe => 141,
        }
    }

    /// Says what failed, and what the user can do.
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
    /// An error of writing results to stdout.
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
            _ if error.is_read_only() => {
                Some("name a repository you can write with `--repo=DIR` or UDOCKER_DIR".to_string())
            }
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
                "wait, or log in with `udocker login` if you have not: limits are higher then"
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
                Some("take one of them with `--platform=OS/ARCH[/VARIANT]`".to_string())
            }
            RegistryError::Unreachable { source, .. } if source.is_plain() => Some(
                "for a registry that has no https, write `http://` before its name".to_string(),
            ),
            RegistryError::Unreachable { source, .. } if source.is_untrusted() => Some(
                "name a file with its authority's certificate in SSL_CERT_FILE, or take any \
                 certificate with `--insecure`"
                    .to_string(),
            ),
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

impl From<ImageError> for CommandError {
    fn from(error: ImageError) -> CommandError {
        match error {
            ImageError::Registry(error) => error.into(),
            ImageError::Store(error) => error.into(),
            ImageError::Platform { ref found, .. } => {
                let hint = format!("take it nevertheless with `--platform={found}`");
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
                .with_hint("a root file system is brought in with `udocker import`"),
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
            ContainerError::Fs(error) => StoreError::from(error).into(),
            other => CommandError::from_error(other),
        }
    }
}
