//! `udocker logout`

use super::options::RegistryArgs;
use super::{CommandError, Context, DONE, Outcome};
use crate::credentials::Keystore;

/// Delete stored logins
///
/// The logins of Docker and Podman are not changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker logout --registry=quay.io
  udocker logout -a")]
pub struct Args {
    /// Delete all logins
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let keystore = Keystore::new(context.settings.paths.keystore.clone());
    if args.all {
        keystore.erase().map_err(CommandError::from_error)?;
        return Ok(DONE);
    }
    let registry = context.registry(args.registry.named())?;
    if !keystore
        .delete(&registry)
        .map_err(CommandError::from_error)?
    {
        return Err(CommandError::failed(format_args!(
            "there is no stored login for '{registry}'"
        )));
    }
    Ok(DONE)
}
