//! `udocker rename`

use super::{Context, DONE, Outcome};
use crate::store::{ContainerName, StoreError};

/// Replace a container's name
///
/// Other names of the container stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  udocker rename work work-2026")]
pub struct Args {
    /// The name to replace
    #[arg(value_name = "OLD")]
    old: String,
    /// The new name
    #[arg(value_name = "NEW")]
    new: String,
}

/// Replaces a name.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let old: ContainerName = args.old.parse().map_err(StoreError::from)?;
    let new: ContainerName = args.new.parse().map_err(StoreError::from)?;
    context.store.rename_container(&old, &new)?;
    Ok(DONE)
}
