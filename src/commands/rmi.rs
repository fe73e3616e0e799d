//! `udocker rmi`

use super::{CommandError, Context, Outcome};
use crate::container;

/// Remove images
///
/// Layers that other images share stay. Containers made from the image are independent of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  udocker rmi ubuntu:24.04")]
pub struct Args {
    /// Accepted for compatibility
    #[arg(short = 'f', long)]
    force: bool,
    /// Images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Removes images.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    super::each(&args.images, context, |text| remove(text, context))
}

fn remove(text: &str, context: &Context) -> Result<(), CommandError> {
    let image = context.store.image_named(text).map_err(|error| {
        let hint = match context.store.image(text) {
            Ok(other) => format!("the image is called '{}' here", other.name),
            Err(_) => "list images with `udocker images`".to_string(),
        };
        CommandError::failed(error).with_hint(hint)
    })?;
    context.store.remove_image(&image)?;
    // A tree that cannot be removed is harmless, and `gc` reports it.
    container::sweep_image_trees(&context.store, context.kept_trees());
    context
        .printer
        .info(format_args!("deleted image: {}", image.name));
    Ok(())
}
