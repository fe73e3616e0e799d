//! `udocker help`

use clap::CommandFactory;

use super::{CommandError, Context, DONE, Outcome};
use crate::cli::Cli;

/// The same as `udocker COMMAND --help`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A command
    command: Option<String>,
}

/// Shows the help of a command, or of the whole program.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let mut program = Cli::command();
    program.build();
    let page = match &args.command {
        None => &mut program,
        Some(name) => program.find_subcommand_mut(name).ok_or_else(|| {
            CommandError::usage(format_args!("there is no command '{name}'"))
                .with_hint("list the commands with `udocker help`")
        })?,
    };
    let text = page.render_help().to_string();
    context.printer.write_out(&text)?;
    Ok(DONE)
}
