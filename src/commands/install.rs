//! `udocker install`

use super::{CommandError, Context, DONE, Outcome};
use crate::engine::proot;
use crate::host::fs::write_atomic;
use crate::progress::Silent;
use crate::rootfs::remove_tree;

/// Unpack the engine ahead of its first use
///
/// Every other command unpacks the engine when it needs it. This one does it ahead, for example on
/// a login node whose home directory the compute nodes share.
///
/// If udocker.py uses the same repository, it takes its own tools for installed then. For its F
/// modes, fetch them with `udocker.py install --force`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  udocker install")]
pub struct Args {
    /// Replace existing files; implied if they differ
    #[arg(long)]
    force: bool,
    /// Remove the directories for executables and libraries first
    #[arg(long)]
    purge: bool,
}

/// The version of udocker.py's tools, in the directory for libraries. Installers look for it, and
/// udocker.py downloads its tools if the file is missing or shows a version below 1.2.11.
const TOOLS_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\n");

/// Unpacks the engine, and the licence texts into the directory for documentation.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let layout = &context.settings.paths.layout;
    if args.purge {
        for directory in [&layout.bin, &layout.lib] {
            if directory.is_dir() {
                remove_tree(directory, &Silent).map_err(CommandError::from_error)?;
            }
        }
    }
    context.store.ensure_all()?;
    // Existing files are compared with the embedded ones, so there is nothing to force.
    let engine = proot::install(&layout.bin).map_err(CommandError::from_error)?;
    for (name, text) in proot::licences() {
        let path = layout.doc.join(name.replace('/', "-"));
        write_atomic(&path, text.as_bytes(), 0o644).map_err(CommandError::from_error)?;
    }
    let version = layout.lib.join("VERSION");
    if !version.exists() {
        write_atomic(&version, TOOLS_VERSION.as_bytes(), 0o644)
            .map_err(CommandError::from_error)?;
    }
    context
        .printer
        .info(format_args!("engine ready: {}", engine.display()));
    Ok(DONE)
}
