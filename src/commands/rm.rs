//! `udocker rm`

use super::{CommandError, Context, Outcome};
use crate::container;

/// Names of a removed container go with it. Its image stays.
#[derive(Debug, clap::Args)]
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
    context
        .printer
        .info(format_args!("deleting container: {}", container.id));
    container::remove(&context.store, &container)?;
    Ok(())
}
