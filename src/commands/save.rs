//! `udocker save`

use super::streams::ArchivePath;
use super::{CommandError, Context, DONE, Outcome};
use crate::image;
use crate::store::Image;

/// Save images to an archive
///
/// Writes an archive that `docker load`, `podman load`, `skopeo` and udocker.py read. A file that
/// is there is not overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker save -o tools.tar lab/tool:1 lab/tool:2
  udocker save busybox | docker load
  udocker save - busybox | zstd > busybox.tar.zst")]
pub struct Args {
    /// The archive, or `-` for standard output, which is the default
    #[arg(short = 'o', long, value_name = "FILE|-")]
    output: Option<ArchivePath>,
    /// Images in the local repository
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Saves images.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    // udocker.py accepts `save - IMAGE` too.
    let (place, names) = match (&args.output, &args.images[..]) {
        (Some(place), names) => (place.clone(), names),
        (None, [dash, names @ ..]) if dash == "-" => (ArchivePath::Standard, names),
        (None, names) => (ArchivePath::Standard, names),
    };
    if names.is_empty() {
        return Err(CommandError::usage("an IMAGE is missing"));
    }
    let images = names
        .iter()
        .map(|name| context.store.image(name))
        .collect::<Result<Vec<Image>, _>>()?;
    place.write(context, false, |out| {
        image::save(&images, out, &context.progress())?;
        Ok(())
    })?;
    Ok(DONE)
}
