//! `udocker protect` and `udocker unprotect`

use super::{Context, DONE, Outcome};

/// A protected container or image is not removed by `rm`, `rmi` or `run --rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker protect work
  udocker unprotect work")]
pub struct Args {
    /// A container's id or name, or an image
    #[arg(value_name = "CONTAINER|IMAGE")]
    target: String,
}

/// Protects a container or image.
pub(super) fn protect(args: &Args, context: &Context) -> Outcome {
    set_protected(&args.target, context, true)
}

/// Removes the protection of a container or image.
pub(super) fn unprotect(args: &Args, context: &Context) -> Outcome {
    set_protected(&args.target, context, false)
}

fn set_protected(target: &str, context: &Context, protected: bool) -> Outcome {
    match context.store.container(target) {
        Ok(container) => container.set_protected(protected)?,
        Err(_) => {
            let image = context.store.image_named(target);
            let image = image.map_err(|_| context.unknown_target(target))?;
            image.set_protected(protected)?;
        }
    }
    Ok(DONE)
}
