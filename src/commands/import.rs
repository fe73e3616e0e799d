//! `udocker import`

use super::options::{container_name, given, platform};
use super::streams::{ArchivePath, size_of};
use super::{CommandError, Context, DONE, Outcome};
use crate::container;
use crate::image::{self, ImportSource, NewName};
use crate::oci::Platform;
use crate::rootfs::Layer;
use crate::store::Container;

/// The image name of a container that is imported without one, as in udocker.py.
const UNKNOWN_IMAGE: &str = "IMPORTED:unknown";

/// Import a root file system as an image or container
///
/// The archive holds a directory tree, as `docker export` and `udocker export` write it, and may
/// be compressed with gzip, bzip2, xz or zstd. Prints the name of the image, or with
/// `--tocontainer` or `--clone` the id of the new container.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker import rootfs.tar.gz lab/base:1
  docker export work | udocker import - lab/work
  udocker import --tocontainer --name=work rootfs.tar
  udocker import --clone --name=copy exported.tar")]
pub struct Args {
    /// Move the archive into the repository instead of copying it
    #[arg(long)]
    mv: bool,
    /// Make a container of it, and no image
    #[arg(long)]
    tocontainer: bool,
    /// Make a container of what `export --clone` wrote, with or without `--tocontainer`
    #[arg(long)]
    clone: bool,
    /// A name for the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Platform of what is inside, as in linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// The archive, or `-` for standard input
    #[arg(value_name = "TAR|-")]
    archive: ArchivePath,
    /// A name for the image
    image: Option<String>,
}

/// Imports a root file system.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let label = match &args.archive {
        ArchivePath::Standard => "standard input".to_string(),
        ArchivePath::Path(path) => path.display().to_string(),
    };
    let explain = |error: CommandError| error.while_doing(format_args!("cannot import '{label}'"));
    if args.clone || args.tocontainer {
        let container = to_container(args, context, &explain)?;
        context.printer.out(container.id)?;
        return Ok(DONE);
    }
    if given(&args.name).is_some() {
        context
            .printer
            .warning("`--name` is for `--tocontainer` and `--clone`, and is ignored");
    }
    let Some(image) = &args.image else {
        return Err(CommandError::usage("a name for the image is missing")
            .with_hint("usage: udocker import TAR|- IMAGE"));
    };
    let name: NewName = image.parse().map_err(CommandError::failed)?;
    let source = match &args.archive {
        ArchivePath::Path(path) if args.mv => ImportSource::Moved(path.clone()),
        place => {
            let (file, label) = place.open()?;
            let size = size_of(&file);
            ImportSource::Stream(Box::new(file), label, size)
        }
    };
    let store = &context.store;
    let platform = platform(&args.platform)?.unwrap_or_else(Platform::host);
    let image = image::import(store, source, &name.local(), &platform, &context.progress())
        .map_err(|error| explain(error.into()))?;
    context.printer.out(image.name)?;
    Ok(DONE)
}

fn to_container(
    args: &Args,
    context: &Context,
    explain: &dyn Fn(CommandError) -> CommandError,
) -> Result<Container, CommandError> {
    let name = container_name(&args.name)?;
    let image = args.image.as_deref().unwrap_or(UNKNOWN_IMAGE);
    let image: NewName = image.parse().map_err(CommandError::failed)?;
    let platform = platform(&args.platform)?.unwrap_or_else(Platform::host);
    let (file, label) = args.archive.open()?;
    let archive = Layer {
        name: label,
        size: size_of(&file),
        source: Box::new(file),
        diff_id: None,
    };
    let options = context.create_options(name);
    let (store, progress) = (&context.store, context.progress());
    let imported = if args.clone {
        container::import_clone(store, archive, &options, &progress)
    } else {
        let image = image.local();
        container::import_tree(store, archive, &image, &platform, &options, &progress)
    };
    imported.map_err(|error| explain(error.into()))
}
