//! `udocker clone`

use super::options::container_name;
use super::{CommandError, Context, DONE, Outcome};
use crate::container::{self, CreateOptions};

/// Copy a container
///
/// Copies the files and metadata of a container to a new one and prints its id. Where the file
/// system can do that, both share the content of files until one of them changes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  udocker clone --name=experiment work")]
pub struct Args {
    /// Name of the new container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A container's id or name
    container: String,
}

/// Clones a container.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let name = container_name(&args.name)?;
    let source = context.store.container(&args.container)?;
    let made = container::clone(
        &context.store,
        &source,
        &CreateOptions {
            name,
            ..CreateOptions::default()
        },
        &context.progress(),
    )
    .map_err(|error| {
        CommandError::from(error).while_doing(format_args!("cannot clone '{}'", args.container))
    })?;
    context.printer.out(made.id)?;
    Ok(DONE)
}
