//! What a test needs from the machine, and what happens where it is not there.

use std::path::Path;

/// Says that a test does nothing here, and why; where `CI` is set it fails instead, since there
/// `scripts/test.sh` has installed everything.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "cannot skip in CI: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}

/// Says that a test does nothing here because the machine forbids what it does, which no script can
/// change; so it does not fail in CI either.
pub fn cannot(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Whether all these programs are installed; says so where one is not.
#[track_caller]
pub fn has_tools(names: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories = || path.split(':').chain(["/usr/sbin", "/sbin"]);
    for name in names {
        if !directories().any(|directory| Path::new(directory).join(name).is_file()) {
            skip(&format!(
                "'{name}' is not installed; scripts/test.sh installs it"
            ));
            return false;
        }
    }
    true
}
