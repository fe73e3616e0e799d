//! `udocker load`

use std::path::Path;

use super::streams::{ArchivePath, size_of};
use super::{CommandError, Context, DONE, Outcome};
use crate::image::{self, LoadSource, NewName};

/// Load images from an archive
///
/// Takes archives that `docker save`, `podman save`, `skopeo` and udocker write, of one or many
/// images, and OCI layouts, as an archive or a directory; compressed with gzip, bzip2, xz or zstd,
/// or not. Prints the names of the images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker load -i busybox.tar
  udocker load -i tool-layout/ lab/tool:1.2
  docker save lab/tool | udocker load

An image that has no usable name in the archive is called loaded/DIGEST.")]
pub struct Args {
    /// The archive, or `-` for standard input, which is the default
    #[arg(short = 'i', long, value_name = "FILE|DIR|-")]
    input: Option<ArchivePath>,
    /// A name for the image instead of its own; without a tag it keeps the one it has
    #[arg(value_name = "NAME", num_args = 0..=2)]
    name: Vec<String>,
}

/// Loads images.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    load(args, context).map_err(|error| match &args.name[..] {
        [file] if args.input.is_none() && Path::new(file).is_file() => {
            error.with_hint(format!("to load that file, use `udocker load -i {file}`"))
        }
        _ => error,
    })
}

fn load(args: &Args, context: &Context) -> Outcome {
    // udocker.py accepts `load - NAME` too.
    let (place, name) = match (&args.input, &args.name[..]) {
        (Some(place), []) => (place.clone(), None),
        (Some(place), [name]) => (place.clone(), Some(name)),
        (None, []) => (ArchivePath::Standard, None),
        (None, [dash]) if dash == "-" => (ArchivePath::Standard, None),
        (None, [dash, name]) if dash == "-" => (ArchivePath::Standard, Some(name)),
        (None, [name]) => (ArchivePath::Standard, Some(name)),
        _ => return Err(CommandError::usage("one NAME is allowed")),
    };
    let name: Option<NewName> = name
        .map(|text| text.parse())
        .transpose()
        .map_err(CommandError::failed)?;
    let (source, label) = match &place {
        ArchivePath::Path(path) if path.is_dir() => (
            LoadSource::Directory(path.clone()),
            path.display().to_string(),
        ),
        _ => {
            let (file, label) = place.open()?;
            let size = size_of(&file);
            (LoadSource::Stream(Box::new(file), size), label)
        }
    };
    let images = image::load(&context.store, source, name.as_ref(), &context.progress()).map_err(
        |error| CommandError::from(error).while_doing(format_args!("cannot load '{label}'")),
    )?;
    for image in images {
        context.printer.out(image.name)?;
    }
    Ok(DONE)
}
