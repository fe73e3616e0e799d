//! `udocker pull`

use super::{CommandError, Context, Outcome};
use crate::image::{self, PullRequest};
use crate::oci::{Platform, Reference, RegistryUrl};
use crate::store::Image;

/// Layers that are here already are not fetched again, and an interrupted pull goes on where it
/// stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker pull ubuntu:24.04
  udocker pull quay.io/biocontainers/samtools:1.9--h8571acd_11
  udocker pull --platform=linux/arm64 debian@sha256:…
  udocker pull http://localhost:5000/lab/tool")]
pub struct Args {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Images, as [https://|http://][HOST[:PORT]/]NAME[:TAG][@DIGEST]
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Where images come from, and for which platform.
#[derive(Debug, Default, clap::Args)]
pub struct SourceArgs {
    /// Index to use instead of Docker Hub's
    #[arg(long, value_name = "URL")]
    pub(super) index: Option<String>,
    /// Registry for images without a host in their name
    #[arg(long, value_name = "URL")]
    pub(super) registry: Option<String>,
    /// Proxy, as http://, socks4://, socks4a://, socks5:// or socks5h://[USER:PASSWORD@]HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(super) httpproxy: Option<String>,
    /// Platform to pull, as in linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<String>,
}

/// Pulls images.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    super::each(&args.images, context, |text| {
        let image = pull(text, &args.source, context)?;
        context
            .printer
            .info(format_args!("pulled image: {}", image.name));
        Ok(())
    })
}

/// Pulls one image.
pub(super) fn pull(
    text: &str,
    source: &SourceArgs,
    context: &Context,
) -> Result<Image, CommandError> {
    let reference: Reference = text.parse().map_err(CommandError::failed)?;
    let platform = match &source.platform {
        Some(text) => text.parse().map_err(CommandError::usage)?,
        None => Platform::host(),
    };
    let default_registry = match &source.registry {
        Some(url) => RegistryUrl::parse(url).map_err(CommandError::usage)?,
        None => context.settings.default_registry.clone(),
    };
    let client = context.registry_client(source.httpproxy.as_deref())?;
    let request = PullRequest {
        reference: &reference,
        platform: &platform,
        default_registry: &default_registry,
    };
    image::pull(&context.store, &client, &request, &context.progress()).map_err(|error| {
        CommandError::from(error).while_doing(format_args!("cannot pull '{text}'"))
    })
}
