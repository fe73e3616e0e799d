//! What tests require of the machine, and skipping where it is missing.

use std::fs;
use std::io::Write;
use std::path::Path;

use udocker::engine::namespace;
use udocker::host::facts::Caller;

/// The reasons for which a test may be skipped even where `CI` is set.
const PERMITTED: &str = include_str!("../../scripts/permitted-skips.txt");

/// Prints that a test is skipped and why, and counts it for `scripts/check.sh`. Where `CI` is set,
/// the test fails instead unless the reason is permitted, since `scripts/test.sh` installs all
/// else.
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

/// Returns whether all these programs are installed; skips the test otherwise.
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

/// Returns whether this host allows user namespaces; skips the test otherwise.
#[track_caller]
pub fn has_user_namespaces() -> bool {
    let probed = namespace::probe();
    if let Err(error) = &probed {
        skip(&format!("no user namespaces here: {error}"));
    }
    probed.is_ok()
}

/// The execution modes among these that this host allows. Counts the test as skipped if it leaves
/// out any.
#[track_caller]
pub fn allowed_modes(modes: &[&'static str]) -> Vec<&'static str> {
    let mut modes = modes.to_vec();
    let needs_namespaces = |mode: &&str| mode.starts_with('R');
    if modes.iter().any(needs_namespaces) && !has_user_namespaces() {
        modes.retain(|mode| !needs_namespaces(mode));
    }
    modes
}

/// Returns whether this user has subordinate id ranges and can map them; skips the test otherwise.
#[track_caller]
pub fn has_id_ranges() -> bool {
    let name = Caller::look_up(None).account.name;
    let is_granted = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .any(|line| line.starts_with(&format!("{name}:")))
    };
    if !has_tools(&["newuidmap", "newgidmap"]) || !has_user_namespaces() {
        return false;
    }
    let granted = ["/etc/subuid", "/etc/subgid"].into_iter().all(is_granted);
    if !granted {
        skip("no ids are granted to this user; scripts/make-test-user.sh does that");
    }
    granted
}
