//! `udocker export`

use super::streams::ArchivePath;
use super::{CommandError, Context, DONE, Outcome};
use crate::container::{self, ExportForm};

/// Export a container's root file system as an archive
///
/// The archive holds the container's files, all of them owned by root. `docker import` and
/// `udocker import` read it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker export -o work.tar work
  udocker export - work | ssh cluster udocker import - lab/work
  udocker export --clone -o work-clone.tar work")]
pub struct Args {
    /// The archive, or `-` for standard output, which is the default
    #[arg(short = 'o', value_name = "TAR|-")]
    output: Option<ArchivePath>,
    /// Export the metadata too, for `import --clone`
    #[arg(long)]
    clone: bool,
    /// A container's id or name; `-` may stand before it
    #[arg(required = true, num_args = 1..=2, value_name = "[-] CONTAINER")]
    container: Vec<String>,
}

/// Exports a container.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let (place, name) = match (&args.output, &args.container[..]) {
        (Some(place), [name]) => (place.clone(), name),
        (None, [name]) => (ArchivePath::Standard, name),
        (None, [dash, name]) if dash == "-" => (ArchivePath::Standard, name),
        _ => return Err(CommandError::usage("one CONTAINER is allowed")),
    };
    let container = context.store.container(name)?;
    let form = if args.clone {
        ExportForm::Clone
    } else {
        ExportForm::Tree
    };
    place.write(context, true, |out| {
        container::export(&container, form, out, &context.progress()).map_err(|error| {
            CommandError::from(error).while_doing(format_args!("cannot export '{name}'"))
        })?;
        Ok(())
    })?;
    Ok(DONE)
}
