//! The command line: general options, dispatch, exit status.

mod arguments;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use crate::commands::options::given;
use crate::commands::{Command, CommandError, Context, Outcome};
use crate::config::{Environment, Overrides, Settings, env_vars};
use crate::host::{facts, memory, process};
use crate::ui::{Printer, Verbosity};

/// Pulls, keeps and runs Docker and OCI containers without root, daemon or administrator
#[derive(Debug, Parser)]
#[command(
    name = "udocker",
    disable_version_flag = true,
    // The user's own options come after those of a workflow engine, and override them.
    args_override_self = true,
    max_term_width = 100,
    after_help = "Examples:
  udocker pull ubuntu:24.04
  udocker create --name=work ubuntu:24.04
  udocker run -v /data work sort /data/table
  udocker run --rm busybox echo hello

`udocker help COMMAND` shows the options of a command."
)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "General options")]
struct GlobalArgs {
    /// Show the version
    #[arg(short = 'V', long)]
    version: bool,
    /// Show the program's steps, and the causes of errors
    #[arg(short = 'D', long, global = true, action = ArgAction::SetTrue)]
    debug: bool,
    /// Print errors and results only
    #[arg(short = 'q', long, global = true, action = ArgAction::SetTrue)]
    quiet: bool,
    /// Accept any certificate of a registry, and plain http
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    insecure: bool,
    /// Use the repository in DIR instead of ~/.udocker
    #[arg(long, global = true, value_name = "DIR")]
    repo: Option<OsString>,
    /// Read a further configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<OsString>,
    /// Allow running as root
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    allow_root: bool,
}

/// Runs the program and returns its exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    memory::set_mmap_threshold();
    process::forbid_core_files();
    process::ensure_sigchld_not_ignored();
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => return report::parse_error(&error),
    };
    let mut printer = Printer::new(cli.global.verbosity());
    match run(&cli, &mut printer) {
        Ok(status) => status,
        Err(error) => {
            error.report(&printer);
            error.status()
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    // The command is not built here: the parser builds only the subcommand that it needs, which is
    // faster.
    let program = Cli::command();
    let args = arguments::prepared(args.into_iter().collect(), &program);
    let args = arguments::without_help_on_help(args, &program);
    let matches = program.try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

fn run(cli: &Cli, printer: &mut Printer) -> Outcome {
    if cli.global.version {
        return crate::commands::version::print(printer);
    }
    let Some(command) = &cli.command else {
        printer.write_out(&Cli::command().render_help().to_string())?;
        return Ok(crate::commands::DONE);
    };
    let environment = Environment::of_process();
    let may_be_root = cli.global.allow_root || environment.is_true(env_vars::UDOCKER_ALLOW_ROOT);
    if facts::is_root() && !may_be_root && !command.is_harmless() {
        return Err(CommandError::failed(
            "running as root is refused: emulated root on top of real root protects nothing",
        )
        .with_hint("run as another user, or allow it with `--allow-root`"));
    }
    let overrides = Overrides {
        top: given(&cli.global.repo).map(PathBuf::from),
        file: given(&cli.global.config).map(PathBuf::from),
        insecure: cli.global.insecure,
    };
    let settings = Settings::resolve(&environment, &overrides)?;
    if cli.global.verbosity() == Verbosity::Normal {
        *printer = Printer::new(settings.verbosity);
    }
    for file in &settings.files {
        printer.debug(format_args!("configuration read: {}", file.display()));
    }
    for warning in &settings.warnings {
        printer.warning(warning);
    }
    let context = Context::new(settings, environment, printer.clone());
    if let Some(named) = given(&cli.global.repo)
        && !command.does_without_repository()
        && !context.store.exists()
    {
        let named = Path::new(named).display();
        let error = CommandError::failed(format_args!("there is no repository at '{named}'"));
        return Err(error.with_hint(format!("make one with `udocker mkrepo {named}`")));
    }
    command.run(&context)
}

impl GlobalArgs {
    fn verbosity(&self) -> Verbosity {
        if self.debug {
            Verbosity::Debug
        } else if self.quiet {
            Verbosity::Quiet
        } else {
            Verbosity::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
