//! The memory for the histories that decoders keep, since data may refer back to them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most memory that one decoder may take, and that all of the process may take together.
pub(super) const MEMORY_MAX_BYTES: u64 = 32 << 20;
pub(super) const MIB: u64 = 1 << 20;

/// A share of the memory. When several layers are read at once, those that need much take turns.
///
/// A reader that holds a share must not wait for one that waits for its own.
pub(super) struct Share(u64);

static TAKEN: Mutex<u64> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

impl Share {
    /// Waits until `bytes` are left, at most [`MEMORY_MAX_BYTES`], and takes them.
    pub(super) fn take(bytes: u64) -> Share {
        debug_assert!(bytes <= MEMORY_MAX_BYTES);
        let is_short = |taken: &mut u64| *taken + bytes > MEMORY_MAX_BYTES;
        let mut taken = RETURNED
            .wait_while(lock(), is_short)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Share(bytes)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *lock() -= self.0;
        RETURNED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, u64> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_that_need_much_take_turns() {
        let first = Share::take(MEMORY_MAX_BYTES);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Share::take(MIB).bytes());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!second.is_finished());
            drop(first);
            assert_eq!(second.join().unwrap(), MIB);
        });
    }
}
