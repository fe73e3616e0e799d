//! Chooses the execution mode of a run.

use std::ffi::OsStr;
use std::path::Path;

use super::CANNOT_START;
use crate::commands::{CommandError, Context};
use crate::engine::namespace::{self, RefusalNote};
use crate::spec::{ExecMode, ModeChoice};
use crate::store::Container;

/// What mode R1 cannot do without id ranges.
pub(in crate::commands) const USERS_ARE_IMITATED: &str = "mode R1 only imitates other users and owners, \
     since no ids are granted for them (see `udocker doctor`); where that is not enough, mode R2 does more";

/// Programs that switch to other users, or create files of other owners.
const NEED_USERS: [&str; 16] = [
    "apk", "apt", "apt-get", "aptitude", "dnf", "dpkg", "microdnf", "pacman", "rpm", "runuser",
    "setpriv", "su", "sudo", "tdnf", "yum", "zypper",
];

/// Whether `program` may fail where other users are only imitated.
pub(super) fn needs_users(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| NEED_USERS.contains(&name))
}

/// Returns the mode that `ps -m` and `setup` show.
pub(in crate::commands) fn mode_of(container: &Container, context: &Context) -> String {
    let default = || context.settings.default_execmode.clone();
    let mode = container.execmode().or_else(default);
    mode.unwrap_or_else(|| ExecMode::default().to_string())
}

/// The modes that a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    /// The mode to try first.
    pub(super) first: ExecMode,
    /// The mode to use if the host does not allow the first.
    pub(super) otherwise: Option<ExecMode>,
}

impl Modes {
    /// Returns the modes for a container.
    pub(super) fn of_container(
        container: &Container,
        context: &Context,
    ) -> Result<Modes, CommandError> {
        let Some(text) = container.execmode() else {
            return Modes::of_settings(context);
        };
        refuse_changed_tree(container).map_err(CommandError::at_start)?;
        let choice = text
            .parse()
            .map_err(|error| CommandError::start(CANNOT_START, error))?;
        Ok(Modes::of_choice(choice, context))
    }

    /// Returns the modes for a container or root tree that has no mode of its own.
    pub(super) fn of_settings(context: &Context) -> Result<Modes, CommandError> {
        let choice = context.settings.default_mode();
        let choice = choice.map_err(|error| CommandError::start(CANNOT_START, error))?;
        let default = ModeChoice::Mode(ExecMode::default());
        Ok(Modes::of_choice(choice.unwrap_or(default), context))
    }

    fn of_choice(choice: ModeChoice, context: &Context) -> Modes {
        match choice {
            ModeChoice::Auto if refusal_note(context).applies() => Modes::only(ExecMode::P1),
            // Starting the container finds out whether R1 works.
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

/// Returns the note, for mode `auto`, that this host does not allow mode R1.
pub(super) fn refusal_note(context: &Context) -> RefusalNote {
    RefusalNote::in_directory(&context.settings.paths.layout.bin)
}

/// Refuses a container whose files udocker.py has changed for one of its modes F.
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

/// Returns `mode`, or the fastest one instead of modes F, which have no engine.
fn available(mode: ExecMode, context: &Context) -> ExecMode {
    if !mode.changes_the_tree() {
        return mode;
    }
    let fastest = fastest();
    context.printer.warning(format_args!(
        "execution mode {mode} is not available, {fastest} is used instead"
    ));
    fastest
}

/// Returns the fastest mode that works on this host.
pub(in crate::commands) fn fastest() -> ExecMode {
    match namespace::probe() {
        Ok(()) => ExecMode::R1,
        Err(_) => ExecMode::P1,
    }
}
