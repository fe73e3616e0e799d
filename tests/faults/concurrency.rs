//! Many processes in one repository.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::kills::{assert_can_be_emptied, assert_sound, listed};
use crate::served::{Random, Served};
use crate::support::sandbox::Sandbox;
use crate::test_limits;

/// Errors that are expected because another process was faster.
pub const OTHERS_WERE_FASTER: [&str; 4] = [
    "there is an image",
    "there is no image",
    "there is no such container",
    "there is neither",
];

#[test]
fn concurrent_pulls_download_each_blob_once() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    // Another tag, and another repository, of the same blobs.
    let images = [
        served.image("1"),
        served.image("2"),
        format!("{}/lab/other:1", served.registry.url()),
    ];
    std::thread::scope(|scope| {
        for image in images
            .iter()
            .cycle()
            .take(test_limits::processes() as usize)
        {
            scope.spawn(|| sandbox.udocker(["pull", image]).run().succeeds());
        }
    });
    let listing = sandbox.udocker(["images"]).run().succeeds();
    assert_eq!(listed(listing.text()).len(), images.len());
    assert_eq!(
        served.blob_requests(),
        4,
        "three layers and a configuration"
    );
    assert_sound(&sandbox);
}

#[test]
fn concurrent_commands_fail_only_with_expected_errors() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    let deadline = Instant::now() + Duration::from_secs(test_limits::seconds());
    let (done, removals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |seed: u64| {
        let mut random = Random::new(seed);
        while Instant::now() < deadline {
            let image = served.image(&random.below(3).to_string());
            let containers = sandbox.udocker(["ps"]).run().succeeds();
            let containers = listed(containers.text());
            let some = random.below(containers.len().max(1) as u64) as usize;
            let some = containers
                .get(some)
                .cloned()
                .unwrap_or_else(|| "none".to_string());
            let other = served.image(&format!("other{}", random.below(3)));
            let args: Vec<&str> = match random.below(8) {
                0 => vec!["pull", &image],
                1 => vec!["create", &image],
                2 => vec!["run", "--rm", "--nobanner", &image, "true"],
                3 => vec!["rm", &some],
                4 => vec!["rmi", if random.below(2) == 0 { &image } else { &other }],
                5 => vec!["tag", &image, &other],
                6 => vec!["clone", &some],
                _ => vec!["images"],
            };
            let ran = sandbox.udocker(&args).run();
            let is_expected = ran.code() == 0
                || OTHERS_WERE_FASTER
                    .iter()
                    .any(|part| ran.stderr.contains(part));
            assert!(is_expected, "{ran:#?}");
            done.fetch_add(1, Ordering::Relaxed);
            let is_removal = args[0] == "rmi" && ran.code() == 0;
            removals.fetch_add(usize::from(is_removal), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..test_limits::processes())
            .map(|seed| scope.spawn(move || work(seed)))
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let (done, removals) = (done.into_inner(), removals.into_inner());
    let downloads = served.most_requests_for_one_blob();
    println!(
        "{done} commands, {removals} images removed, no blob downloaded more than {downloads} times"
    );
    assert!(
        downloads <= 1 + removals,
        "a blob was downloaded {downloads} times and removed {removals} times"
    );
    assert_sound(&sandbox);
    assert_can_be_emptied(&sandbox);
}
