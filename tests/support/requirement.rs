//! What a test needs from the machine, and what happens where it is not there.

use std::fs;
use std::path::Path;

use udocker::host::facts::Caller;

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

/// Whether ranges of ids are granted to this user and can be mapped; says so where not.
#[track_caller]
pub fn has_id_ranges() -> bool {
    let name = Caller::look_up(None).account.name;
    let is_granted = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .any(|line| line.starts_with(&format!("{name}:")))
    };
    if !has_tools(&["newuidmap", "newgidmap"]) {
        return false;
    }
    let granted = ["/etc/subuid", "/etc/subgid"].into_iter().all(is_granted);
    if !granted {
        skip("no ids are granted to this user; scripts/make-test-user.sh does that");
    }
    granted
}
