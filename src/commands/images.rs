//! `udocker images`

use std::fs;

use super::{Context, DONE, Outcome};
use crate::store::Image;

const MIB: u64 = 1 << 20;

/// List the images in the local repository
///
/// Each line is `REPOSITORY:TAG` and `P` for a protected image, `.` for any other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker images
  udocker images -l")]
pub struct Args {
    /// Show where each image is, and its layers with their sizes
    #[arg(short = 'l')]
    long: bool,
    /// Show the platform of each image
    #[arg(short = 'p')]
    platform: bool,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    no_trunc: bool,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    all: bool,
}

/// Lists images.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let header = context
        .printer
        .shows_notes()
        .then(|| "REPOSITORY".to_string());
    let images = context.store.images();
    let lines = images.iter().flat_map(|image| lines(image, args));
    context.printer.out_all(header.into_iter().chain(lines))?;
    Ok(DONE)
}

fn lines(image: &Image, args: &Args) -> Vec<String> {
    let mut lines = vec![line(image, args.platform)];
    if args.long {
        lines.push(format!(" {}", image.directory.display()));
        // An image that is being removed may have no links any more.
        for link in image.links().unwrap_or_default() {
            let size = fs::metadata(image.directory.join(&link)).map_or(0, |meta| meta.len());
            lines.push(layer_line(&link.to_string_lossy(), size));
        }
    }
    lines
}

fn line(image: &Image, with_platform: bool) -> String {
    let mark = if image.is_protected() { 'P' } else { '.' };
    if !with_platform {
        return format!("{}    {mark}", image.name);
    }
    let platform = image.content().map_or_else(
        |_| "unknown/unknown".to_string(),
        |content| content.config.platform_text(),
    );
    format!("{platform:<18.18} {mark} {}", image.name)
}

fn layer_line(name: &str, size_bytes: u64) -> String {
    format!("    /{name} ({} MB)", size_bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_listed_as_udocker_py_does() {
        assert_eq!(
            layer_line("sha256:ab", 3 * MIB + 5),
            "    /sha256:ab (3 MB)"
        );
        assert_eq!(layer_line("x.layer", MIB - 1), "    /x.layer (0 MB)");
    }
}
