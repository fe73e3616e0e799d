//! `udocker tag`

use super::{CommandError, Context, DONE, Outcome};
use crate::image::NewName;

/// Give an image a further name
///
/// Both names have the same layers. Removing one name keeps the other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  udocker tag ubuntu:24.04 lab/base:1")]
pub struct Args {
    /// An image in the local repository
    #[arg(value_name = "SRC")]
    source: String,
    /// The further name
    #[arg(value_name = "DST")]
    target: String,
}

/// Gives an image a further name.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let name: NewName = args.target.parse().map_err(CommandError::failed)?;
    let image = context.store.image(&args.source)?;
    context.store.tag_image(&image, &name.local())?;
    Ok(DONE)
}
