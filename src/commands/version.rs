//! `udocker version`

use serde_json::{Value, json};

use super::{Context, DONE, Outcome};
use crate::engine::proot::embedded;
use crate::ui::{Printer, pretty_json};

/// Show the version
///
/// Prints the versions of the program and of its engine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker version
  udocker --version")]
pub struct Args {
    /// Print JSON, with origin and licence of the embedded parts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    if args.json {
        context.printer.out(pretty_json(&facts()))?;
        return Ok(DONE);
    }
    print(&context.printer)
}

/// Prints the version for `version` and `--version`. Scripts for udocker.py read the first words of
/// the three lines. The engine, a tarball there, is part of this executable.
pub(crate) fn print(printer: &Printer) -> Outcome {
    printer.write_out(&format!(
        "version: {}\ntarball: embedded\ntarball_release: proot-{}\n",
        env!("CARGO_PKG_VERSION"),
        embedded::VERSION,
    ))?;
    Ok(DONE)
}

fn facts() -> Value {
    let embedded = [engine_parts(), libraries()].concat();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "licence": env!("CARGO_PKG_LICENSE"),
        "architecture": std::env::consts::ARCH,
        "embedded": embedded,
    })
}

/// Returns PRoot and its loaders.
fn engine_parts() -> Vec<Value> {
    const LICENCE: &str = "GPL-2.0-or-later";
    let mut parts = vec![
        json!({
            "name": "proot",
            "version": embedded::VERSION,
            "licence": LICENCE,
            "source_sha256": embedded::SOURCE_SHA256,
            "patches_sha256": embedded::PATCHES_SHA256,
            "sha256": embedded::PROOT_SHA256,
        }),
        json!({
            "name": "talloc stand-in of proot",
            "version": env!("CARGO_PKG_VERSION"),
            "licence": "Apache-2.0 OR GPL-2.0-or-later",
        }),
    ];
    for (name, content, sha256) in [
        ("proot-loader", embedded::LOADER, embedded::LOADER_SHA256),
        (
            "proot-loader-32",
            embedded::LOADER_32,
            embedded::LOADER_32_SHA256,
        ),
    ] {
        if content.is_some() {
            parts.push(json!({
                "name": name,
                "version": embedded::VERSION,
                "licence": LICENCE,
                "sha256": sha256,
            }));
        }
    }
    parts
}

/// Returns the standard libraries, and the crates that `scripts/list-crates.sh` has listed.
fn libraries() -> Vec<Value> {
    let standard = [
        ("glibc", embedded::LIBC, "LGPL-2.1-or-later"),
        ("rust standard library", embedded::RUST, "MIT OR Apache-2.0"),
    ];
    standard
        .into_iter()
        .chain(crates())
        .map(|(name, version, licence)| json!({"name": name, "version": version, "licence": licence}))
        .collect()
}

/// Returns name, version and licence of each crate.
fn crates() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    include_str!("../../embedded-crates.tsv")
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once('\t')?;
            let (version, licence) = rest.split_once('\t')?;
            Some((name, version, licence))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_part_has_a_version_and_a_licence() {
        let facts = facts();
        assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
        for part in facts["embedded"].as_array().unwrap() {
            // The version of a PRoot other than ours is not known.
            assert!(part["version"] != "" || !embedded::IS_OURS, "{part}");
            assert_ne!(part["licence"], "", "{part}");
        }
        let proot = &facts["embedded"][0];
        assert_eq!(proot["sha256"].as_str().unwrap().len(), 64);
    }

    /// This test needs no cargo. `scripts/check.sh` compares the whole list.
    #[test]
    fn listed_crates_equal_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        for (name, version, _) in crates() {
            let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(
                lock.contains(&locked),
                "{name} {version}: run scripts/list-crates.sh"
            );
        }
        let listed: Vec<_> = crates().map(|(name, ..)| name).collect();
        let manifest = include_str!("../../Cargo.toml");
        let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
        let (dependencies, _) = dependencies.split_once("\n\n").unwrap();
        for line in dependencies.lines() {
            let name = line.split_whitespace().next().unwrap();
            assert!(listed.contains(&name), "{name}: run scripts/list-crates.sh");
        }
    }
}
