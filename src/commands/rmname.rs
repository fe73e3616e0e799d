//! `udocker rmname`

use super::{Context, DONE, Outcome};
use crate::store::{ContainerName, StoreError};

/// Remove a container's name
///
/// The container itself stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  udocker rmname work")]
pub struct Args {
    /// The name to remove
    name: String,
}

/// Removes a container's name.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let name: ContainerName = args.name.parse().map_err(StoreError::from)?;
    context.store.remove_name(&name)?;
    Ok(DONE)
}
