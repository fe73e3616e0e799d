//! `udocker version`

use serde_json::{Value, json};

use super::{Context, DONE, Outcome};
use crate::engine::proot::{embedded, version_facts};
use crate::ui::{Printer, pretty_json};

/// Show the version
///
/// Prints the version of the program and of the engine inside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker version
  udocker --version")]
pub struct Args {
    /// Print it as JSON, with origin and licence of what is embedded
    #[arg(long)]
    json: bool,
}

/// Shows the version.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    if args.json {
        context.printer.out(pretty_json(&facts()))?;
        return Ok(DONE);
    }
    print(&context.printer)
}

/// Prints what `version` and `--version` print. Scripts of udocker.py's users read the first
/// words of the three lines; the engine, a tarball there, is part of this executable.
pub(crate) fn print(printer: &Printer) -> Outcome {
    printer.write_out(&format!(
        "version: {}\ntarball: embedded\ntarball_release: proot-{}\n",
        env!("CARGO_PKG_VERSION"),
        embedded::VERSION,
    ))?;
    Ok(DONE)
}

fn facts() -> Value {
    let mut proot = json!({"name": "proot", "licence": "GPL-2.0-or-later"});
    for (key, value) in version_facts() {
        proot[key] = value.into();
    }
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "licence": env!("CARGO_PKG_LICENSE"),
        "architecture": std::env::consts::ARCH,
        "embedded": [proot],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_part_has_a_licence_and_a_hash() {
        let facts = facts();
        assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
        for part in facts["embedded"].as_array().unwrap() {
            assert_ne!(part["licence"], "");
            assert_eq!(part["proot_sha256"].as_str().unwrap().len(), 64);
        }
    }
}
