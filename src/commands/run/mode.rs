//! Which mode a container is run in.

use std::ffi::OsStr;
use std::path::Path;

use super::CANNOT_START;
use crate::commands::{CommandError, Context};
use crate::engine::namespace::{self, RefusalNote};
use crate::spec::{ExecMode, ModeChoice};
use crate::store::Container;

/// What R1 cannot do where no further ids are granted.
pub(in crate::commands) const USERS_ARE_IMITATED: &str = "mode R1 only imitates other users and owners, \
     since no ids are granted for them (see `udocker doctor`); where that is not enough, mode R2 does more";

/// Programs that become somebody else, or make files that belong to others.
const NEED_USERS: [&str; 16] = [
    "apk", "apt", "apt-get", "aptitude", "dnf", "dpkg", "microdnf", "pacman", "rpm", "runuser",
    "setpriv", "su", "sudo", "tdnf", "yum", "zypper",
];

/// Whether `program` is one of those that may fail for want of other users.
pub(super) fn needs_users(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| NEED_USERS.contains(&name))
}

/// The mode shown by `ps -m` and `setup`.
pub(in crate::commands) fn mode_of(container: &Container, context: &Context) -> String {
    container
        .execmode()
        .unwrap_or_else(|| default_choice(context).to_string())
}

/// The mode of containers that have none of their own.
fn default_choice(context: &Context) -> ModeChoice {
    let default = ModeChoice::Mode(ExecMode::default());
    context.settings.default_execmode.unwrap_or(default)
}

/// The mode a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) first: ExecMode,
    /// What is left where the host does not allow it.
    pub(super) otherwise: Option<ExecMode>,
}

impl Modes {
    /// Those a container is run in.
    pub(super) fn of_container(
        container: &Container,
        context: &Context,
    ) -> Result<Modes, CommandError> {
        let Some(text) = container.execmode() else {
            return Ok(Modes::of_settings(context));
        };
        refuse_changed_tree(container).map_err(CommandError::at_start)?;
        let choice = text
            .parse()
            .map_err(|error| CommandError::start(CANNOT_START, error))?;
        Ok(Modes::of_choice(choice, context))
    }

    /// Those of what has no mode of its own.
    pub(super) fn of_settings(context: &Context) -> Modes {
        Modes::of_choice(default_choice(context), context)
    }

    fn of_choice(choice: ModeChoice, context: &Context) -> Modes {
        match choice {
            ModeChoice::Auto if refusal_note(context).applies() => Modes::only(ExecMode::P1),
            // The start itself finds out whether it works.
            ModeChoice::Auto => Modes {
                first: ExecMode::R1,
                otherwise: Some(ExecMode::P1),
            },
            ModeChoice::Mode(mode) => Modes::only(available(mode, context)),
        }
    }

    fn only(mode: ExecMode) -> Modes {
        Modes {
            first: mode,
            otherwise: None,
        }
    }
}

/// What is remembered of this host for mode `auto`.
pub(super) fn refusal_note(context: &Context) -> RefusalNote {
    RefusalNote::in_directory(&context.settings.paths.layout.bin)
}

/// Fails where udocker.py has changed the container's files for one of its modes F.
pub(in crate::commands) fn refuse_changed_tree(container: &Container) -> Result<(), CommandError> {
    let mode = container.execmode().and_then(|text| text.parse().ok());
    match mode.filter(|mode: &ExecMode| mode.changes_the_tree()) {
        None => Ok(()),
        Some(mode) => Err(CommandError::failed(format_args!(
            "container '{}' was changed inside by udocker.py for mode {mode}, and runs in no other",
            container.id
        ))
        .with_hint(format!(
            "undo that with `udocker.py setup --force --execmode=P1 {}`",
            container.id
        ))),
    }
}

/// The nearest mode there is an engine for.
fn available(mode: ExecMode, context: &Context) -> ExecMode {
    let nearest = match mode {
        ExecMode::F1 | ExecMode::F2 | ExecMode::F3 | ExecMode::F4 => fastest(),
        _ => return mode,
    };
    context.printer.warning(format_args!(
        "execution mode {mode} is not available, {nearest} is used instead"
    ));
    nearest
}

/// The fastest mode that works on this host.
pub(in crate::commands) fn fastest() -> ExecMode {
    match namespace::probe() {
        Ok(()) => ExecMode::R1,
        Err(_) => ExecMode::P1,
    }
}
