//! `udocker version`

use super::{Context, DONE, Outcome};
use crate::engine::proot::embedded;
use crate::ui::Printer;

/// Prints the version of the program and of the engine inside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker version
  udocker --version")]
pub struct Args {}

/// Shows the version.
pub(super) fn run(_args: &Args, context: &Context) -> Outcome {
    print(&context.printer)
}

/// Prints what `version` and `--version` print. Scripts of udocker.py's users read the first
/// words of the three lines; the engine, a tarball there, is part of this executable.
pub(crate) fn print(printer: &Printer) -> Outcome {
    printer.write_out(&format!(
        "version: {}\ntarball: embedded\ntarball_release: proot-{}\n",
        env!("CARGO_PKG_VERSION"),
        embedded::VERSION,
    ))?;
    Ok(DONE)
}
