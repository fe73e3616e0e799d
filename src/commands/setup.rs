//! `udocker setup`

use super::options::given;
use super::{CommandError, Context, DONE, Outcome};
use crate::config::env_vars;
use crate::container::{self, ContainerError};
use crate::engine::namespace;
use crate::progress::{Progress, Unit};
use crate::rootfs::make_accessible;
use crate::spec::{ExecMode, ModeChoice};
use crate::store::{Container, StoreError};
use crate::ui;

/// Change how a container is run
///
/// Without options it prints the execution mode, and whether the
/// host's NVIDIA libraries were put into it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Modes:
  P1  PRoot with seccomp acceleration (default)
  P2  PRoot without it
  R1  user namespaces, at native speed where the host allows them
  R2  user namespaces with PRoot as P1 inside, for what switches users
  R3  the same with P2
  auto  R1 where it works, else P1
  S1  Apptainer or Singularity, where the host has one of them; a command that SIGKILL
      ends has status 255 there
  F1 F2 F3 F4 are accepted for the sake of old scripts, and set what auto does

Examples:
  udocker setup mycontainer
  udocker setup --execmode=P2 mycontainer
  udocker setup --nvidia mycontainer")]
pub struct Args {
    /// Execution mode
    #[arg(long, value_name = "MODE")]
    execmode: Option<String>,
    /// Overwrite NVIDIA files that are there
    #[arg(long)]
    force: bool,
    /// Take back what udocker.py's modes R and S left inside
    #[arg(long)]
    purge: bool,
    /// Make everything inside readable and writable for you
    #[arg(long)]
    fixperm: bool,
    /// Copy the host's NVIDIA libraries and programs into the container
    #[arg(long)]
    nvidia: bool,
    /// A container's id or name
    container: String,
}

/// Changes or shows settings.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let container = context.store.container(&args.container)?;
    let mode = given(&args.execmode).map(parse_mode).transpose()?;
    if mode.is_some() && container.is_protected() {
        return Err(StoreError::Protected(args.container.clone()).into());
    }
    if args.purge {
        container::undo_udocker_py_binds(&container)?;
    }
    if args.fixperm {
        fix_permissions(&container, context)?;
    }
    if args.nvidia {
        add_nvidia(args, &container, context)?;
    }
    if let Some(mode) = mode {
        set_mode(mode, &container, context)?;
    }
    if mode.is_none() && !(args.force || args.purge || args.fixperm || args.nvidia) {
        let printer = &context.printer;
        let mode = super::run::mode::mode_of(&container, context);
        printer.out(format_args!("execmode: {}", ui::plain(mode)))?;
        // The spelling of Python.
        let nvidia = if container.is_nvidia() {
            "True"
        } else {
            "False"
        };
        printer.out(format_args!("nvidiamode: {nvidia}"))?;
    }
    Ok(DONE)
}

fn parse_mode(text: &str) -> Result<ModeChoice, CommandError> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(ModeChoice::Auto);
    }
    text.to_ascii_uppercase()
        .parse()
        .map_err(CommandError::usage)
}

fn set_mode(
    choice: ModeChoice,
    container: &Container,
    context: &Context,
) -> Result<(), CommandError> {
    // Only udocker.py can undo its changes of the files inside.
    super::run::mode::refuse_changed_tree(container)?;
    let mode = match choice {
        ModeChoice::Auto => super::run::mode::fastest(),
        ModeChoice::Mode(mode) if mode.changes_the_tree() => {
            let fastest = super::run::mode::fastest();
            context.printer.warning(format_args!(
                "execution mode {mode} does not exist here, {fastest} is set instead"
            ));
            fastest
        }
        ModeChoice::Mode(mode) => mode,
    };
    let name = mode.to_string();
    let needs_undo = |old: String| old.starts_with(['R', 'S']) && old != name;
    if container.execmode().is_some_and(needs_undo) {
        container::undo_udocker_py_binds(container)?;
    }
    container.set_execmode(&name)?;
    let has_ranges = || context.settings.id_ranges && namespace::probe_ranges().is_ok();
    if choice == ModeChoice::Mode(ExecMode::R1) && !has_ranges() {
        context.printer.info(super::run::mode::USERS_ARE_IMITATED);
    }
    Ok(())
}

fn fix_permissions(container: &Container, context: &Context) -> Result<(), CommandError> {
    namespace::enter_ranges();
    let task = context.progress().watch("mending modes", Unit::Files);
    let unchanged = make_accessible(&container.root(), &*task).map_err(CommandError::failed)?;
    drop(task);
    if unchanged > 0 {
        context.printer.warning(format_args!(
            "{unchanged} files or directories could not be changed, perhaps since they belong to another user"
        ));
    }
    Ok(())
}

fn add_nvidia(args: &Args, container: &Container, context: &Context) -> Result<(), CommandError> {
    let library_path = context.environment.get(env_vars::LD_LIBRARY_PATH);
    let printer = &context.printer;
    match container::add_nvidia(container, library_path, args.force) {
        Ok(count) => printer.info(format_args!("{count} NVIDIA files are in the container")),
        // Job scripts also use the option on machines without a GPU.
        Err(ContainerError::NoNvidia) => {
            printer.warning("this machine has no NVIDIA libraries");
        }
        Err(ContainerError::NvidiaPresent(_)) => {
            printer.info("NVIDIA files are there already, `--force` overwrites them");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
