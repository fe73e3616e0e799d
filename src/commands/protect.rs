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

/// Sets or takes away the protection of a container or image.
pub(super) fn run(args: &Args, context: &Context, protected: bool) -> Outcome {
    match context.store.container(&args.target) {
        Ok(container) => container.set_protected(protected)?,
        Err(_) => {
            let image = context.store.image(&args.target);
            let image = image.map_err(|_| context.unknown_target(&args.target))?;
            image.set_protected(protected)?;
        }
    }
    Ok(DONE)
}
