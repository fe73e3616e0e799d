//! `udocker create`

use super::options::container_name;
use super::{CommandError, Context, DONE, Outcome};
use crate::container;

/// Create a container from an image
///
/// Unpacks the image's layers into a new root directory and prints the container's id.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  udocker create busybox:latest\n  udocker create --name=work ubuntu:24.04"
)]
pub struct Args {
    /// Name of the new container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Create it even if the name is taken; it then gets no name
    #[arg(long)]
    force: bool,
    /// An image that has been pulled, loaded or imported
    image: String,
}

/// Creates a container.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let mut name = container_name(&args.name)?;
    if args.force {
        name = name.filter(|name| !context.store.has_name(name));
    }
    let image = context.store.image(&args.image)?;
    let options = context.create_options(name);
    let created = container::create(&context.store, &image, &options, &context.progress())
        .map_err(|error| {
            CommandError::from(error).while_doing(format_args!(
                "cannot create a container from '{}'",
                args.image
            ))
        })?;
    context.printer.out(created.id)?;
    Ok(DONE)
}
