//! Limits of the randomised tests. The defaults take about a minute on two processors;
//! `scripts/stress.sh` sets higher ones.

/// The number of concurrent processes in one repository.
pub fn processes() -> u64 {
    asked_for("UDOCKER_TEST_PROCESSES", 20)
}

/// How long they run commands.
pub fn seconds() -> u64 {
    asked_for("UDOCKER_TEST_SECONDS", 15)
}

/// How many processes of each command are killed.
pub fn kills() -> u32 {
    u32::try_from(asked_for("UDOCKER_TEST_KILLS", 8)).unwrap()
}

fn asked_for(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => default,
    }
}
