//! `udocker run`

mod docker;
mod options;

use std::ffi::OsString;
use std::path::PathBuf;

pub use docker::DockerArgs;
pub use options::{Pull, WishArgs};

use super::pull::{ImageSource, SourceArgs, cannot_pull};
use super::{CommandError, Context, Outcome};
use crate::container::{self, CreateOptions, RunTarget};
use crate::engine::{self, EngineError, EngineOptions, HostView};
use crate::host::facts::{Caller, Machine};
use crate::spec::{ExecMode, HostFacts, ModeChoice, RunRequest, RunSpec, SpecError, plan_run};
use crate::store::{Container, ContainerName, StoreError};

/// Exit status of a container that could not be started.
pub(super) const CANNOT_START: u8 = 125;

/// Run a container
///
/// Runs a command in a container. Given an image, it first makes a new container of it.
///
/// Options end at the container's or image's name; what follows is the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker run mycontainer
  udocker run -v /data:/mnt -w /mnt mycontainer ./analyse table.csv
  udocker run --rm -e THREADS=4 ubuntu:24.04 sh -c 'echo $THREADS'
  udocker run --name=work --pull=reuse ubuntu:24.04 bash

Docker's other options are accepted too: --mount, --tmpfs, --read-only, --add-host, --cidfile,
--init, -i and -t do what they say there; the rest says that it has no effect, or is refused with
the reason.

Exit status: that of the command, 128+N when signal N ended it, 127 when the command is not found,
126 when it cannot be executed, 125 when the container could not be started.")]
pub struct Args {
    /// Remove the container afterwards, unless it is protected
    #[arg(long)]
    rm: bool,
    /// Name of the new container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// When to pull: missing, never, always, or reuse the container of --name if there is one
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "missing",
        hide_default_value = true
    )]
    pull: Pull,
    /// Run the root tree at DIR, outside any repository
    #[arg(long, value_name = "DIR")]
    location: Option<PathBuf>,
    /// Print no start banner
    #[arg(long)]
    nobanner: bool,
    #[command(flatten)]
    wishes: WishArgs,
    #[command(flatten)]
    docker: DockerArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// A container's id or name, or an image
    #[arg(value_name = "CONTAINER|IMAGE")]
    target: Option<OsString>,
    /// The command to run instead of the image's own, and its arguments
    #[arg(value_name = "COMMAND", allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs a container to its end.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let search_paths = context.settings.search_paths.clone();
    let request = args.wishes.request(search_paths);
    let mut request = request.map_err(CommandError::at_start)?;
    let docker = args.docker.apply(&mut request, context);
    // What it holds is there until the run is over.
    let _scratch = docker.map_err(CommandError::at_start)?;
    if let Some(root) = &args.location {
        return run_location(args, &mut request, root.clone(), context);
    }
    let Some(target) = &args.target else {
        return Err(CommandError::usage("no container or image is named")
            .with_hint("usage: udocker run [OPTIONS] CONTAINER|IMAGE [COMMAND…]"));
    };
    request.arguments = args.command.clone();
    let target = target.to_str().ok_or_else(|| {
        CommandError::failed(format_args!(
            "'{}' is neither a container nor an image",
            target.to_string_lossy()
        ))
    })?;
    let container = find_or_create(args, target, context)?;
    args.docker
        .write_cidfile(&container)
        .map_err(CommandError::at_start)?;
    let status = run_container(args, &request, &container, context);
    if args.rm && !container.is_protected() {
        container::remove(&context.store, &container)?;
    }
    status
}

fn run_container(
    args: &Args,
    request: &RunRequest,
    container: &Container,
    context: &Context,
) -> Outcome {
    let mode = effective_mode(container, context)?;
    let run_target = RunTarget::of_container(container, mode, &context.settings.paths.tmp)
        .map_err(|error| CommandError::from(error).at_start())?;
    let spec = plan(request, &run_target, context).map_err(start_error)?;
    start(args, &spec, &run_target, context)
}

/// Runs a tree outside the repository. udocker.py takes the first word for the name of a
/// container and ignores it; here it is ignored only where it is no command and another follows.
fn run_location(
    args: &Args,
    request: &mut RunRequest,
    root: PathBuf,
    context: &Context,
) -> Outcome {
    let mode = default_mode(context)?;
    let run_target = RunTarget::of_location(&root, mode, &context.settings.paths.tmp)
        .map_err(|error| CommandError::from(error).at_start())?;
    request.arguments = args.target.iter().chain(&args.command).cloned().collect();
    let spec = match plan(request, &run_target, context) {
        Err(SpecError::Command(error)) if error.is_not_found() && !args.command.is_empty() => {
            request.arguments.remove(0);
            plan(request, &run_target, context)
        }
        planned => planned,
    }
    .map_err(start_error)?;
    start(args, &spec, &run_target, context)
}

fn plan(request: &RunRequest, target: &RunTarget, context: &Context) -> Result<RunSpec, SpecError> {
    let home = context.environment.text(crate::config::env_vars::HOME);
    let own = |text: &std::ffi::OsStr| text.to_os_string();
    let host = HostFacts {
        caller: Caller::look_up(home.as_deref()),
        machine: Machine::look_up(),
        environment: context
            .environment
            .iter()
            .map(|(k, v)| (own(k), own(v)))
            .collect(),
    };
    plan_run(request, &host, &target.facts, &HostView)
}

fn start_error(error: SpecError) -> CommandError {
    CommandError::start(error.exit_status(), error)
}

fn start(args: &Args, spec: &RunSpec, target: &RunTarget, context: &Context) -> Outcome {
    let options = engine_options(context);
    for warning in &spec.warnings {
        context.printer.warning(warning);
    }
    for shortcoming in engine::shortcomings(spec, &options) {
        if shortcoming.is_dangerous() {
            context.printer.warning(shortcoming);
        } else {
            context.printer.info(shortcoming);
        }
    }
    if !args.nobanner {
        let program = spec.argv.program().to_string_lossy();
        context.printer.banner(&banner(&target.facts.id, &program));
    }
    context.printer.debug(format_args!("{spec:?}"));
    let outcome = engine::run(spec, &options).map_err(|error| {
        let failure = CommandError::start(error.exit_status(), &error);
        match error {
            EngineError::Unavailable { reason, .. } => failure.with_hint(reason.cause.remedy()),
            _ => failure,
        }
    })?;
    Ok(outcome.exit_status())
}

/// How engines are started.
pub(super) fn engine_options(context: &Context) -> EngineOptions {
    use crate::config::env_vars::{PROOT_NO_SECCOMP, PROOT_TMP_DIR, XDG_RUNTIME_DIR};
    let environment = &context.environment;
    let paths = &context.settings.paths;
    EngineOptions {
        bin_dir: paths.layout.bin.clone(),
        fallback_dirs: environment
            .path(XDG_RUNTIME_DIR)
            .into_iter()
            .chain([paths.tmp.clone(), PathBuf::from("/dev/shm")])
            .collect(),
        tmp_dir: environment
            .path(PROOT_TMP_DIR)
            .unwrap_or_else(|| paths.tmp.clone()),
        other_proot: context.settings.proot_executable.clone(),
        no_seccomp: context.settings.no_seccomp || environment.get(PROOT_NO_SECCOMP).is_some(),
        id_ranges: context.settings.id_ranges,
    }
}

/// The box that udocker.py prints.
fn banner(id: &str, program: &str) -> String {
    let program = program.rsplit('/').next().unwrap_or(program);
    let line = "*".repeat(78);
    let title = format!("STARTING {id}");
    format!(
        " \n {line} \n *{:76}* \n *{title:^76}* \n *{:76}* \n {line} \n executing: {program}\n",
        "", ""
    )
}

/// The container to run: one that is there, else a new one of an image.
fn find_or_create(args: &Args, target: &str, context: &Context) -> Result<Container, CommandError> {
    let store = &context.store;
    let name: Option<ContainerName> = args
        .name
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| CommandError::from(StoreError::from(error)))?;
    if let (Pull::Reuse, Some(name)) = (args.pull, &name)
        && let Ok(container) = store.container(name.as_str())
    {
        return Ok(container);
    }
    if let Some(name) = &name
        && store.has_name(name)
    {
        return Err(StoreError::NameTaken(name.to_string()).into());
    }
    if let Ok(mut container) = store.container(target) {
        if let Some(name) = &name {
            store.add_name(&container.id, name)?;
            container.names.push(name.to_string());
        }
        return Ok(container);
    }
    let options = CreateOptions {
        name,
        max_unpacked_bytes: context.settings.max_unpacked_bytes,
    };
    let progress = context.progress();
    match (args.pull, store.image(target)) {
        (Pull::Missing | Pull::Never | Pull::Reuse, Ok(image)) => {
            Ok(container::create(store, &image, &options, &progress)?)
        }
        (Pull::Never, Err(error)) => Err(error.into()),
        (Pull::Always, _) | (Pull::Missing | Pull::Reuse, Err(_)) => {
            let source = ImageSource::parse(target, &args.source, context)?;
            let request = source.request();
            container::pull_and_create(store, &source.client, &request, &options, &progress)
                .map_err(|error| cannot_pull(target, error))
        }
    }
}

/// The mode shown by `ps -m` and `setup`.
pub(super) fn mode_of(container: &Container, context: &Context) -> String {
    container
        .execmode()
        .or_else(|| context.settings.default_execmode.clone())
        .unwrap_or_else(|| ExecMode::default().to_string())
}

/// The mode a container is run in.
fn effective_mode(container: &Container, context: &Context) -> Result<ExecMode, CommandError> {
    let Some(text) = container.execmode() else {
        return default_mode(context);
    };
    refuse_changed_tree(container).map_err(CommandError::at_start)?;
    let choice: ModeChoice = text
        .parse()
        .map_err(|error| CommandError::start(CANNOT_START, error))?;
    Ok(available(choice, context))
}

/// Fails where udocker.py has changed the container's files for one of its modes F.
pub(super) fn refuse_changed_tree(container: &Container) -> Result<(), CommandError> {
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

fn default_mode(context: &Context) -> Result<ExecMode, CommandError> {
    let choice = match &context.settings.default_execmode {
        None => return Ok(ExecMode::default()),
        Some(text) => text
            .parse()
            .map_err(|error| CommandError::start(CANNOT_START, error))?,
    };
    Ok(available(choice, context))
}

/// The nearest mode there is an engine for.
pub(super) fn available(choice: ModeChoice, context: &Context) -> ExecMode {
    let mode = match choice {
        ModeChoice::Auto => return fastest(),
        ModeChoice::Mode(mode) => mode,
    };
    let nearest = match mode {
        ExecMode::P1 | ExecMode::P2 | ExecMode::R1 | ExecMode::R2 | ExecMode::R3 => return mode,
        ExecMode::F1 | ExecMode::F2 | ExecMode::F3 | ExecMode::F4 => fastest(),
        ExecMode::S1 => ExecMode::P1,
    };
    context.printer.warning(format_args!(
        "execution mode {mode} is not available, {nearest} is used instead"
    ));
    nearest
}

/// The fastest mode that works on this host.
pub(super) fn fastest() -> ExecMode {
    match engine::namespace::probe() {
        Ok(()) => ExecMode::R1,
        Err(_) => ExecMode::P1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_udocker_pys() {
        let text = banner("0123", "/bin/sh");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!(" {} ", "*".repeat(78)));
        assert_eq!(lines[3].len(), 80);
        assert!(lines[3].contains(" STARTING 0123 "));
        assert_eq!(lines[6], " executing: sh");
    }
}
