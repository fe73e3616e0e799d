//! Waits for other processes.

use std::thread;
use std::time::{Duration, Instant};

/// Far longer than any condition takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the condition holds; fails after a minute.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
