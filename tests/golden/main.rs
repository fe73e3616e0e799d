//! The exact output of the program, which scripts read. With `SNAPSHOTS=overwrite` in the
//! environment the pages are rewritten; their diff then shows what changes for users.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod help;
mod sessions;

use std::fs;
use std::path::Path;

/// Asserts that `actual` is what stands in the file `page` beside these tests.
#[track_caller]
fn assert_page(page: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(page);
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let first = expected
        .lines()
        .zip(actual.lines())
        .position(|(expected, actual)| expected != actual);
    assert!(
        expected == actual,
        "not as in {page}, from line {} on:\n{actual}",
        first.unwrap_or_else(|| expected.lines().count().min(actual.lines().count())) + 1
    );
}
