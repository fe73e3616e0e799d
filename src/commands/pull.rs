//! `udocker pull`

use super::{CommandError, Context, Outcome, options};
use crate::image::{self, Downloads, PullRequest};
use crate::oci::{Platform, Reference, RegistryUrl};
use crate::registry::Client;

/// Pull an image from a registry
///
/// Layers that are present already are not fetched again, and an interrupted pull is resumed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker pull ubuntu:24.04
  udocker pull quay.io/biocontainers/samtools:1.9--h8571acd_11
  udocker pull --platform=linux/arm64 debian@sha256:…
  udocker pull http://localhost:5000/lab/tool")]
pub struct Args {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[arg(
        help = "Images, as [https://|http://][HOST[:PORT]/]NAME[:TAG][@DIGEST]",
        required = true,
        value_name = "IMAGE"
    )]
    images: Vec<String>,
}

/// The options that say where images come from, and for which platform.
#[derive(Debug, Default, clap::Args)]
pub struct SourceArgs {
    /// Accepted for old scripts: images come from registries
    #[arg(long, value_name = "URL")]
    pub(super) index: Option<String>,
    /// Registry for images without a host in their name
    #[arg(long, value_name = "URL")]
    pub(super) registry: Option<String>,
    #[arg(
        help = "Proxy, as http://, socks4://, socks4a://, socks5:// or socks5h://[USER:PASSWORD@]HOST:PORT",
        long,
        value_name = "URL"
    )]
    pub(super) httpproxy: Option<String>,
    /// Platform to pull, as in linux/arm64/v8, instead of this machine's
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    super::each(&args.images, context, |text| {
        let source = ImageSource::parse(text, &args.source, context)?;
        let image = image::pull(
            &context.store,
            &source.client,
            &source.request(),
            &Downloads::default(),
            &context.progress(),
        )
        .map_err(|error| cannot_pull(text, error))?;
        context
            .printer
            .info(format_args!("pulled image: {}", image.name));
        Ok(())
    })
}

/// Adds to an error which image could not be pulled.
pub(super) fn cannot_pull(text: &str, error: impl Into<CommandError>) -> CommandError {
    error
        .into()
        .while_doing(format_args!("cannot pull '{text}'"))
}

/// An image to pull, and the client to pull it with.
pub(super) struct ImageSource {
    /// The reference, as the user typed it.
    pub(super) reference: Reference,
    /// The platform of the image, if the user asked for one.
    pub(super) platform: Option<Platform>,
    /// The registry for references without a host.
    pub(super) default_registry: RegistryUrl,
    /// The client for the registry.
    pub(super) client: Client,
}

impl ImageSource {
    /// Parses the user's text and options.
    pub(super) fn parse(
        text: &str,
        args: &SourceArgs,
        context: &Context,
    ) -> Result<ImageSource, CommandError> {
        Ok(ImageSource {
            reference: text.parse().map_err(CommandError::from_error)?,
            platform: options::platform(&args.platform)?,
            default_registry: context.registry(&args.registry)?,
            client: context.registry_client(options::given(&args.httpproxy))?,
        })
    }

    /// Returns the request for the pull workflow.
    pub(super) fn request(&self) -> PullRequest<'_> {
        PullRequest {
            reference: &self.reference,
            platform: self.platform.as_ref(),
            default_registry: &self.default_registry,
            unpacked_in: None,
        }
    }
}
