//! Faults and hostile input, through the executable: killed processes, full disks, failing
//! registries, concurrent commands, read-only repositories, hostile images and archives.

#![allow(missing_docs, unreachable_pub, reason = "a test binary")]
#![allow(
    clippy::unwrap_used,
    reason = "what a test cannot do without is a failure of the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod concurrency;
mod core_files;
mod damaged_blobs;
mod disk;
mod flaky_registry;
mod hostile_archives;
mod io_errors;
mod kills;
mod manifests;
mod memory;
mod odd_file_systems;
mod old_kernels;
mod served;
mod test_limits;
mod two_hosts;
