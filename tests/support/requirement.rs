//! What a test needs from the machine, and what happens where it is not there.

use std::fs;
use std::io::Write;
use std::path::Path;

use udocker::host::facts::Caller;

/// The reasons that are no failure where `CI` is set.
const PERMITTED: &str = include_str!("../../scripts/permitted-skips.txt");

/// Says that a test does nothing here, and why, and counts it for `scripts/check.sh`. Where `CI` is
/// set it fails instead, unless the reason is permitted: `scripts/test.sh` has installed all else.
#[track_caller]
pub fn skip(reason: &str) {
    let is_permitted = PERMITTED.lines().any(|permitted| {
        reason
            .strip_prefix(permitted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
    });
    assert!(
        is_permitted || std::env::var_os("CI").is_none(),
        "cannot skip in CI: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
    if let Some(path) = std::env::var_os("UDOCKER_TEST_SKIPS") {
        let file = fs::OpenOptions::new().append(true).open(path);
        let line = format!("{}\n", reason.replace('\n', " "));
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file that scripts/check.sh has made");
    }
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
