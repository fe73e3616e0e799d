//! `udocker verify`

use super::error::get_again;
use super::{CommandError, Context, DONE, Outcome};
use crate::image;

/// Check that an image is whole
///
/// Reads every layer to its end, compares all digests with the manifest and the configuration, and
/// finds layers that are damaged or have entries that are refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  udocker verify ubuntu:24.04")]
pub struct Args {
    /// An image in the local repository
    image: String,
}

/// Checks an image, and prints all faults.
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
    let error = CommandError::failed(format_args!("image '{}' is damaged", image.name));
    if report.damaged.is_empty() {
        return Err(error);
    }
    for blob in &report.damaged {
        // In a repository that cannot be written, no pull would use the mark either.
        let _ = context.store.blobs().mark_damaged(blob);
    }
    Err(error.with_hint(get_again(&image.name.to_string())))
}
