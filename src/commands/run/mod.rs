//! `udocker run`

mod debug;
mod docker;
pub(super) mod mode;
mod options;

use std::ffi::OsString;
use std::path::PathBuf;

pub use docker::DockerArgs;
pub use options::{Pull, SpecArgs};

use debug::debug_lines;
use mode::Modes;

use super::options::{container_name, given, parse_bool};
use super::pull::{ImageSource, SourceArgs, cannot_pull};
use super::{CommandError, Context, Outcome};
use crate::config::env_vars::HOME;
use crate::container::{self, ContainerError, RunTarget};
use crate::engine::{self, EngineError, EngineOptions, HostView};
use crate::host::facts::{Caller, Machine};
use crate::rootfs;
use crate::spec::{
    ExecMode, HostFacts, ID_RANGES_FILE, Identity, RunRequest, RunSpec, SpecError, plan_run,
};
use crate::store::{Container, ContainerName, StoreError};
use crate::ui;

/// The hint for a host without Apptainer.
const NO_APPTAINER: &str = "install one of them, name it with UDOCKER_USE_SINGULARITY_EXECUTABLE, \
     or choose another mode, such as auto";

/// The exit status of a run whose container could not be started.
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

Exit status: that of the command, 128+N when signal N ended it (in mode S1 255 for SIGKILL), 127
when the command is not found, 126 when it cannot be executed, 125 when the container could not be
started.")]
pub struct Args {
    /// Remove the container afterwards, unless it is protected
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          hide_default_value = true)]
    rm: bool,
    /// Name of the new container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// When to pull: missing, never, always, or reuse the container of --name if there is one
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_value = "missing",
          default_missing_value = "missing", hide_default_value = true)]
    pull: Pull,
    /// Run the root tree at DIR, outside any repository
    #[arg(long, value_name = "DIR")]
    location: Option<OsString>,
    /// Print no start banner
    #[arg(long)]
    nobanner: bool,
    #[command(flatten)]
    spec: SpecArgs,
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
    let request = args.spec.request(context);
    let mut request = request.map_err(CommandError::at_start)?;
    let docker = args.docker.apply(&mut request, context);
    // Removed when the run is over.
    let _scratch = docker.map_err(CommandError::at_start)?;
    request.check_sources(&HostView).map_err(start_error)?;
    if let Some(root) = given(&args.location) {
        return run_location(args, &mut request, root.into(), context);
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
    let written = args.docker.write_cidfile(&container);
    let outcome = written
        .map_err(CommandError::at_start)
        .and_then(|()| run_container(args, &request, &container, context));
    if args.rm && !container.is_protected() {
        remove(&container, context);
    }
    outcome
}

/// Removes the container after its run. A failure is reported, but does not change the status.
fn remove(container: &Container, context: &Context) {
    match container::remove(&context.store, container, &context.progress()) {
        Ok(()) => {}
        // Another process has removed it, perhaps while the command was running.
        Err(error @ ContainerError::Store(StoreError::NoContainer(_))) => {
            context.printer.warning(error);
        }
        Err(error) => CommandError::from(error).report(&context.printer),
    }
}

fn run_container(
    args: &Args,
    request: &RunRequest,
    container: &Container,
    context: &Context,
) -> Outcome {
    let modes = Modes::of_container(container, context)?;
    let target = RunTarget::of_container(container, modes.first, &context.settings.paths.tmp)
        .map_err(|error| CommandError::from(error).at_start())?;
    start(args, target, modes.otherwise, context, |host, target| {
        plan_run(request, host, &target.facts, &HostView)
    })
}

/// Runs a root tree outside the repository. udocker.py ignores the first word, as the name of a
/// container; here it is ignored only if it is no command in the tree and another word follows.
fn run_location(
    args: &Args,
    request: &mut RunRequest,
    root: PathBuf,
    context: &Context,
) -> Outcome {
    args.docker.refuse_cidfile()?;
    let modes = Modes::of_settings(context)?;
    let target = RunTarget::of_location(&root, modes.first, &context.settings.paths.tmp)
        .map_err(|error| CommandError::from(error).at_start())?;
    request.arguments = args.target.iter().chain(&args.command).cloned().collect();
    start(
        args,
        target,
        modes.otherwise,
        context,
        |host, target| match plan_run(request, host, &target.facts, &HostView) {
            Err(SpecError::Command(error)) if error.is_not_found() && !args.command.is_empty() => {
                request.arguments.remove(0);
                plan_run(request, host, &target.facts, &HostView)
            }
            planned => planned,
        },
    )
}

fn host_facts(context: &Context) -> HostFacts {
    let environment = &context.environment;
    let variables = environment.iter();
    HostFacts {
        caller: Caller::look_up(environment.text(HOME).as_deref()),
        machine: Machine::look_up(),
        environment: variables
            .map(|(name, value)| (name.to_os_string(), value.to_os_string()))
            .collect(),
    }
}

fn start_error(error: SpecError) -> CommandError {
    CommandError::start(error.exit_status(), error)
}

/// Runs the container; if the host does not allow its mode, runs it in the mode `otherwise`.
fn start(
    args: &Args,
    mut target: RunTarget,
    otherwise: Option<ExecMode>,
    context: &Context,
    mut plan: impl FnMut(&HostFacts, &RunTarget) -> Result<RunSpec, SpecError>,
) -> Outcome {
    let host = host_facts(context);
    let options = engine_options(context);
    let mut spec = plan(&host, &target).map_err(start_error)?;
    for warning in &spec.warnings {
        context.printer.warning(warning);
    }
    announce(&spec, &options, context);
    if !args.nobanner {
        let program = spec.argv.program().to_string_lossy();
        context
            .printer
            .banner(&banner(target.facts.shown_id(), &program));
    }
    let outcome = match (engine::run(&spec, &options), otherwise) {
        (Err(EngineError::Unavailable { reason, .. }), Some(mode)) => {
            mode::refusal_note(context).write(&reason);
            target.facts.mode = mode;
            spec = plan(&host, &target).map_err(start_error)?;
            announce(&spec, &options, context);
            engine::run(&spec, &options)
        }
        (outcome, _) => outcome,
    };
    let outcome = outcome.map_err(|error| {
        let failure = CommandError::start(error.exit_status(), &error);
        match error {
            EngineError::Unavailable { reason, .. } => failure.with_hint(reason.cause.remedy()),
            EngineError::NoApptainer => failure.with_hint(NO_APPTAINER),
            _ => failure,
        }
    })?;
    let status = outcome.exit_status();
    // The command itself may have returned this status.
    if status == CANNOT_START
        && let Err(error) = engine::check_tracer(&spec, &options)
    {
        return Err(CommandError::start(CANNOT_START, error)
            .with_hint("see what this host allows with `udocker doctor`"));
    }
    if status != 0
        && mode::needs_users(spec.argv.program())
        && engine::imitates_users(&spec, &options)
    {
        context.printer.info(mode::USERS_ARE_IMITATED);
    }
    if status != 0
        && let Some(id) = &target.facts.id
        && !maps_ranges(&spec, &options)
        && has_files_of_ranges(&spec)
    {
        context.printer.info(format_args!(
            "some files inside belong to ids that only root in mode R1 has; `udocker setup --fixperm {id}` makes them yours"
        ));
    }
    Ok(status)
}

/// Whether the run maps the caller's id ranges, if there are any.
fn maps_ranges(spec: &RunSpec, options: &EngineOptions) -> bool {
    let is_root = spec.identity == Identity::Emulated { uid: 0, gid: 0 };
    spec.mode == ExecMode::R1 && is_root && options.id_ranges
}

/// Whether earlier runs with id ranges have left files that belong to those ids.
fn has_files_of_ranges(spec: &RunSpec) -> bool {
    let had_ranges = spec.directory.as_path().join(ID_RANGES_FILE).exists();
    had_ranges && rootfs::has_foreign_files(spec.root.as_path())
}

/// Prints the parts of `spec` that the engine cannot do, and with `-D` all of `spec`.
fn announce(spec: &RunSpec, options: &EngineOptions, context: &Context) {
    for shortcoming in engine::shortcomings(spec, options) {
        if shortcoming.is_dangerous() {
            context.printer.warning(shortcoming);
        } else {
            context.printer.info(shortcoming);
        }
    }
    for line in debug_lines(spec) {
        context.printer.debug(line);
    }
}

/// Returns the options of engines, from the settings and the environment.
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
        other_apptainer: context.settings.apptainer_executable.clone(),
        no_seccomp: context.settings.no_seccomp || environment.get(PROOT_NO_SECCOMP).is_some(),
        id_ranges: context.settings.id_ranges,
        search_path: environment
            .get("PATH")
            .map(OsString::from)
            .unwrap_or_default(),
    }
}

/// Returns the banner that udocker.py prints.
fn banner(id: &str, program: &str) -> String {
    let program = ui::plain(program.rsplit('/').next().unwrap_or(program));
    let line = "*".repeat(78);
    let title = format!("STARTING {id}");
    format!(
        " \n {line} \n *{:76}* \n *{title:^76}* \n *{:76}* \n {line} \n executing: {program}\n",
        "", ""
    )
}

/// Returns the container to run: an existing one, else a new one made from an image.
fn find_or_create(args: &Args, target: &str, context: &Context) -> Result<Container, CommandError> {
    let store = &context.store;
    let name = container_name(&args.name)?;
    let reused = || {
        let wanted = name.as_ref().filter(|_| args.pull == Pull::Reuse);
        wanted.and_then(|name| store.container(name.as_str()).ok())
    };
    match reused() {
        Some(container) => Ok(container),
        // Another job of an array may have created it meanwhile.
        None => find_or_create_named(args, target, name.clone(), context)
            .or_else(|error| reused().ok_or(error)),
    }
}

fn find_or_create_named(
    args: &Args,
    target: &str,
    name: Option<ContainerName>,
    context: &Context,
) -> Result<Container, CommandError> {
    let store = &context.store;
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
    let options = context.create_options(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_that_of_udocker_py() {
        let text = banner("0123", "/bin/sh");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!(" {} ", "*".repeat(78)));
        assert_eq!(lines[3].len(), 80);
        assert!(lines[3].contains(" STARTING 0123 "));
        assert_eq!(lines[6], " executing: sh");
        assert!(banner("0123", "/bin/a\u{1b}c\n").ends_with(" executing: a\\u{1b}c\\n\n"));
    }
}
