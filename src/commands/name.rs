//! `udocker name`

use super::{CommandError, Context, DONE, Outcome};
use crate::store::{ContainerName, StoreError};

/// Give a container a name
///
/// A container can have several names.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  udocker name 0b3c… analysis")]
pub struct Args {
    /// The container's id, or one of its names
    container: String,
    /// The new name
    name: String,
}

/// Gives a container a name.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let name: ContainerName = args.name.parse().map_err(StoreError::from)?;
    let container = context.store.container(&args.container)?;
    context
        .store
        .add_name(&container.id, &name)
        .map_err(CommandError::from)?;
    Ok(DONE)
}
