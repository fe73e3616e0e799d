//! `udocker inspect`

use super::{CommandError, Context, DONE, Outcome};
use crate::ui::JsonDocument;

/// Show the metadata of an image or container
///
/// Prints the configuration of an image or container as JSON.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  udocker inspect busybox:latest\n  udocker inspect -p mycontainer"
)]
pub struct Args {
    /// Print the path of the container's root directory instead
    #[arg(short = 'p')]
    path: bool,
    /// A container's id or name, or an image
    #[arg(value_name = "CONTAINER|IMAGE")]
    target: String,
}

/// Prints the metadata of an image or container.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let bytes = match context.store.container(&args.target) {
        Ok(container) if args.path => {
            context.printer.out(container.root().display())?;
            return Ok(DONE);
        }
        Ok(container) => container.config_bytes()?,
        Err(error) if args.path => return Err(error.into()),
        Err(_) => {
            let image = context.store.image(&args.target);
            let image = image.map_err(|_| context.unknown_target(&args.target))?;
            image.content()?.config_bytes
        }
    };
    let document = JsonDocument::parse(&bytes).map_err(|error| {
        CommandError::failed(format_args!(
            "the metadata of '{}' is damaged: {error}",
            args.target
        ))
    })?;
    context.printer.json(document)?;
    Ok(DONE)
}
