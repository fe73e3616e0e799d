//! Waiting for what other processes do.

use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until it is so; fails after a minute.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
