//! `udocker gc`

use std::time::Duration;

use super::{CommandError, Context, DONE, Outcome};
use crate::container;
use crate::store::{Age, UnlinkedBlobs};

/// The age at which files count as left behind: udocker.py and other hosts may still be at work on
/// younger ones. Processes of this program hold locks.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// Remove what interrupted commands have left
///
/// Removes half-made containers, unfinished downloads, and layers that no image has. Images and
/// containers that are listed stay as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker gc
  udocker gc --all")]
pub struct Args {
    /// Remove also what has changed within the last hour, and layers that another repository may
    /// have in use; only while no udocker.py and no other host is at work
    #[arg(long)]
    all: bool,
}

/// Removes the files that killed processes have left.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let store = &context.store;
    if !store.exists() {
        return Ok(DONE);
    }
    let (age, unlinked) = match args.all {
        true => (Age(Duration::ZERO), UnlinkedBlobs::All),
        false => (Age(YOUNG), UnlinkedBlobs::OfOneRepository),
    };
    let swept = container::sweep(store, age, context.kept_trees());
    let garbage = store.collect_garbage(age, unlinked)?;
    context.printer.out(format_args!(
        "removed: {} containers, {} files of images ({} MB)",
        swept.containers,
        garbage.files,
        garbage.bytes.div_ceil(1_000_000)
    ))?;
    if garbage.kept > 0 {
        context.printer.info(format_args!(
            "kept: {} files that are young or in use; `udocker gc --all` removes the young ones",
            garbage.kept
        ));
    }
    if garbage.maybe_shared > 0 {
        context.printer.info(format_args!(
            "kept: {} layers that no image here has, since '{}' may serve other repositories too; \
             `udocker gc --all` removes them",
            garbage.maybe_shared,
            store.layout().layers.display()
        ));
    }
    let of_containers = swept.failures.into_iter().map(CommandError::from);
    let of_images = garbage.failures.into_iter().map(CommandError::from);
    let mut failures: Vec<CommandError> = of_containers.chain(of_images).collect();
    let Some(last) = failures.pop() else {
        return Ok(DONE);
    };
    for failure in failures {
        failure.report(&context.printer);
    }
    Err(last)
}
