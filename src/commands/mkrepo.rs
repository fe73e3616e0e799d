//! `udocker mkrepo`

use std::path::PathBuf;

use super::{CommandError, Context, DONE, Outcome};
use crate::store::{Layout, Store};

/// Make an empty repository in a new directory
///
/// Use it with `udocker --repo=DIR …` or `UDOCKER_DIR=DIR`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker mkrepo /scratch/me/udocker
  udocker --repo=/scratch/me/udocker pull ubuntu:24.04")]
pub struct Args {
    /// A directory that does not exist yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args, _context: &Context) -> Outcome {
    if args.directory.symlink_metadata().is_ok() {
        return Err(CommandError::failed(format_args!(
            "cannot make a repository at '{}': it exists already",
            args.directory.display()
        )));
    }
    Store::open(Layout::below(&args.directory)).ensure_all()?;
    Ok(DONE)
}
