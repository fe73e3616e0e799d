//! `udocker verify`

use super::{CommandError, Context, DONE, Outcome};
use crate::image;

/// Check that an image is whole
///
/// Reads every layer to its end, compares all digests with the manifest and the configuration, and
/// finds archives that are damaged or hold what is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  udocker verify ubuntu:24.04")]
pub struct Args {
    /// An image in the local repository
    image: String,
}

/// Checks an image; names every fault.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let image = context.store.image(&args.image)?;
    let report = image::verify(&image, &context.progress())?;
    for fault in &report.faults {
        context.printer.error(fault);
    }
    if report.faults.is_empty() {
        context.printer.info(format_args!(
            "image '{}' is whole: {} layers checked",
            image.name, report.layers
        ));
        return Ok(DONE);
    }
    Err(
        CommandError::failed(format_args!("image '{}' is damaged", image.name))
            .with_hint(format!("fetch it again with `udocker pull {}`", image.name)),
    )
}
