//! `udocker manifest inspect`

use clap::ValueEnum;

use super::pull::{ImageSource, SourceArgs};
use super::{CommandError, Context, DONE, Outcome};
use crate::ui::JsonDocument;

/// Show an image's manifest at its registry
///
/// Prints the registry's document for an image as JSON: the index if there is one, or with
/// `--platform` the manifest for that platform. Nothing is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker manifest inspect ubuntu:24.04
  udocker manifest inspect --platform=linux/arm64 quay.io/biocontainers/samtools:1.9--h8571acd_11")]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// The word `inspect`
    #[arg(value_name = "inspect", hide_possible_values = true)]
    action: Action,
    /// An image, as for `pull`
    #[arg(value_name = "IMAGE")]
    image: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    Inspect,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let Action::Inspect = args.action;
    let source = ImageSource::parse(&args.image, &args.source, context)?;
    let (reference, default) = (&source.reference, &source.default_registry);
    let registry = reference.registry(default);
    let repositories = reference.remote_repositories(default);
    let tag_or_digest = reference.tag_or_digest();
    let client = &source.client;
    let bytes = match &source.platform {
        Some(platform) => {
            client
                .resolve_image(&registry, &repositories, &tag_or_digest, platform)?
                .bytes
        }
        None => {
            let (_, fetched) = client.find_manifest(&registry, &repositories, &tag_or_digest)?;
            fetched.bytes
        }
    };
    let document = JsonDocument::parse(&bytes).map_err(|error| {
        CommandError::failed(format_args!(
            "the manifest of '{}' is damaged: {error}",
            args.image
        ))
    })?;
    context.printer.json(document)?;
    Ok(DONE)
}
