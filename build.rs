//! Embeds PRoot, which `vendor-proot/build.sh` has built, and the licence texts.
//!
//! This script builds and fetches nothing. `UDOCKER_PROOT` names a different PRoot, and
//! `UDOCKER_PROOT_LOADER` and `UDOCKER_PROOT_LOADER_32` its loaders; without them, PRoot unpacks
//! the loaders inside it. The result is `embedded.rs` in `OUT_DIR`.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The ELF machine numbers of the supported architectures, and of their 32-bit variants.
const MACHINES: [(&str, u16, u16); 2] = [("x86_64", 62, 3), ("aarch64", 183, 40)];

const LICENCES: [&str; 3] = ["LICENSE", "vendor-proot/COPYING", "vendor-proot/SOURCE"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["", "_LOADER", "_LOADER_32"] {
        println!("cargo::rerun-if-env-changed=UDOCKER_PROOT{name}");
    }
    match generate() {
        Ok(()) => {}
        Err(message) => println!("cargo::error={message}"),
    }
}

fn generate() -> Result<(), String> {
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let &(_, machine, machine_32) = MACHINES
        .iter()
        .find(|(name, ..)| *name == architecture)
        .ok_or_else(|| format!("there is no PRoot for {architecture}"))?;
    let parts = Parts::find(&architecture)?;
    let mut code = String::new();
    let mut define = |line: String| writeln!(code, "{line}").map_err(|error| error.to_string());

    define(format!(
        "/// PRoot, a static executable.\npub static PROOT: &[u8] = include_bytes!({:?});",
        check_executable(&parts.proot, machine)?
    ))?;
    for (name, path, machine) in [
        ("LOADER", &parts.loader, machine),
        ("LOADER_32", &parts.loader_32, machine_32),
    ] {
        let value = match path {
            Some(path) => format!(
                "Some(include_bytes!({:?}))",
                check_executable(path, machine)?
            ),
            None => "None".to_string(),
        };
        define(format!(
            "/// A loader, with which PRoot starts guest programs.\npub static {name}: Option<&[u8]> = {value};"
        ))?;
    }
    for (name, key) in [
        ("VERSION", "version"),
        ("SOURCE_SHA256", "source_sha256"),
        ("PATCHES_SHA256", "patches_sha256"),
        ("PROOT_SHA256", "proot_sha256"),
        ("LOADER_SHA256", "loader_sha256"),
        ("LOADER_32_SHA256", "loader_m32_sha256"),
    ] {
        let value = parts.facts.get(key).map_or("", String::as_str);
        define(format!(
            "/// `{key}` of the build.\npub const {name}: &str = {value:?};"
        ))?;
    }
    let rustc = output(&variable("RUSTC")?, "--version");
    for (name, doc, value) in [
        (
            "RUST",
            "The version of the compiler and its standard library",
            rustc,
        ),
        (
            "LIBC",
            "The version of the C library",
            output("getconf", "GNU_LIBC_VERSION"),
        ),
    ] {
        // "rustc 1.91.0 (…)", "glibc 2.41".
        let version = value.split_whitespace().nth(1).unwrap_or_default();
        define(format!("/// {doc}.\npub const {name}: &str = {version:?};"))?;
    }
    define(format!(
        "/// Whether the patches of `vendor-proot/` are in it.\npub const IS_OURS: bool = {};",
        parts.is_ours
    ))?;
    define(
        "/// The names and texts of the licences.\npub static LICENCES: &[(&str, &str)] = &["
            .to_string(),
    )?;
    for name in LICENCES {
        let path = root()?.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        define(format!("({name:?}, include_str!({path:?})),"))?;
    }
    define("];".to_string())?;
    let out = PathBuf::from(variable("OUT_DIR")?).join("embedded.rs");
    fs::write(&out, code).map_err(|error| format!("cannot write {}: {error}", out.display()))
}

struct Parts {
    proot: PathBuf,
    loader: Option<PathBuf>,
    loader_32: Option<PathBuf>,
    facts: BTreeMap<String, String>,
    is_ours: bool,
}

impl Parts {
    fn find(architecture: &str) -> Result<Parts, String> {
        if let Some(proot) = env::var_os("UDOCKER_PROOT") {
            let proot = PathBuf::from(proot);
            let digest = hex_digest(&read(&proot)?);
            return Ok(Parts {
                proot,
                loader: env::var_os("UDOCKER_PROOT_LOADER").map(PathBuf::from),
                loader_32: env::var_os("UDOCKER_PROOT_LOADER_32").map(PathBuf::from),
                facts: BTreeMap::from([("proot_sha256".to_string(), digest)]),
                is_ours: false,
            });
        }
        let directory = root()?.join("vendor-proot/build").join(architecture);
        let manifest = directory.join("manifest");
        println!("cargo::rerun-if-changed={}", manifest.display());
        let text = fs::read_to_string(&manifest).map_err(|_| {
            format!("PRoot is not built yet: run `vendor-proot/build.sh {architecture}`, or set UDOCKER_PROOT")
        })?;
        let facts: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let part = |file: &str, key: &str| -> Result<Option<PathBuf>, String> {
            let Some(expected) = facts.get(key) else {
                return Ok(None);
            };
            let path = directory.join(file);
            if hex_digest(&read(&path)?) != *expected {
                return Err(format!(
                    "{} is not what its manifest says: run `vendor-proot/build.sh {architecture}`",
                    path.display()
                ));
            }
            Ok(Some(path))
        };
        Ok(Parts {
            proot: part("proot", "proot_sha256")?
                .ok_or_else(|| format!("{} names no proot", manifest.display()))?,
            loader: part("loader", "loader_sha256")?,
            loader_32: part("loader-m32", "loader_m32_sha256")?,
            facts,
            is_ours: true,
        })
    }
}

/// Returns the path of a static executable for `machine`.
///
/// Source: System V ABI, "ELF Header" and "Program Header".
fn check_executable(path: &Path, machine: u16) -> Result<PathBuf, String> {
    println!("cargo::rerun-if-changed={}", path.display());
    let bytes = read(path)?;
    let wrong = |what: &str| format!("{} {what}", path.display());
    let malformed = || wrong("is damaged");
    if !bytes.starts_with(b"\x7fELF") || bytes.get(5) != Some(&1) {
        return Err(wrong("is not a little-endian ELF executable"));
    }
    if number(&bytes, 18, 2).ok_or_else(malformed)? != u64::from(machine) {
        return Err(wrong("is for another machine"));
    }
    let is_wide = bytes[4] == 2;
    let (offset, width, size_at) = if is_wide { (32, 8, 54) } else { (28, 4, 42) };
    let table = number(&bytes, offset, width).ok_or_else(malformed)?;
    let size = number(&bytes, size_at, 2).ok_or_else(malformed)?;
    let count = number(&bytes, size_at + 2, 2).ok_or_else(malformed)?;
    const PT_INTERP: u64 = 3;
    for index in 0..count {
        let at = usize::try_from(table + index * size).map_err(|_| malformed())?;
        if number(&bytes, at, 4).ok_or_else(malformed)? == PT_INTERP {
            return Err(wrong("is not static"));
        }
    }
    fs::canonicalize(path).map_err(|error| wrong(&error.to_string()))
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(
        field
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns the output of a program, or nothing if it fails.
fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn root() -> Result<PathBuf, String> {
    variable("CARGO_MANIFEST_DIR").map(PathBuf::from)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
