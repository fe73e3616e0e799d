//! How long the tests go on that could go on for ever. What is the default here is what a machine
//! of two processors does in a minute or so; `scripts/stress.sh` asks for more.

/// Processes at work in one repository at the same time.
pub fn processes() -> u64 {
    asked_for("UDOCKER_TEST_PROCESSES", 20)
}

/// For how long they are at work.
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
