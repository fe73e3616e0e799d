//! `udocker rm`

use std::fs;

use super::{CommandError, Context, Outcome};
use crate::container;

/// Remove containers
///
/// Names of a removed container go with it. Its image stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker rm work
  udocker rm 0b3c71f5-4a3e-4a0e-8f7a-2f1c0d9e8b7a")]
pub struct Args {
    /// Remove it whatever permissions its files have; needed by udocker.py, implied here
    #[arg(short = 'f', long)]
    force: bool,
    /// Container ids or names
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Removes containers.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    super::each(&args.containers, context, |text| remove(text, context))
}

fn remove(text: &str, context: &Context) -> Result<(), CommandError> {
    let container = context.store.container(text)?;
    let elsewhere = fs::read_link(&container.directory).ok();
    container::remove(&context.store, &container, &context.progress())?;
    let printer = &context.printer;
    match elsewhere {
        None => printer.info(format_args!("deleted container: {}", container.id)),
        Some(target) => printer.info(format_args!(
            "deleted the link {}; the container's files stay in '{}'",
            container.id,
            target.display()
        )),
    }
    Ok(())
}
