//! Registries that fail once, in each of several ways, and then work.

use std::sync::OnceLock;
use std::time::Duration;

use crate::kills::assert_sound;
use crate::served::Served;
use crate::support::fake_registry::Reply;
use crate::support::sandbox::Sandbox;

#[test]
fn pull_survives_transient_registry_failures() {
    type Fault = fn(Reply) -> Reply;
    let faults: [(&str, Fault); 6] = [
        ("500", |_| Reply::new(500, "")),
        ("503", |_| Reply::new(503, "")),
        ("429", |_| Reply::new(429, "").header("Retry-After", 0)),
        ("truncated", |good| good.cut_at(100)),
        ("reset before the first byte", |good| good.cut_at(0)),
        ("stalled", |good| {
            good.cut_at(10).pause(Duration::from_secs(3))
        }),
    ];
    std::thread::scope(|scope| {
        for (name, fault) in faults {
            scope.spawn(move || {
                let served = Served::misbehaving(
                    move |nth, _, good| if nth == 1 { fault(good) } else { good },
                );
                let sandbox = Sandbox::new();
                sandbox.write(
                    "home/.udocker/udocker.conf",
                    "[DEFAULT]\ntimeout = 1\ndownload_timeout = 1\n",
                );
                let image = served.image("1");
                let ran = sandbox.udocker(["pull", &image]).run();
                assert_eq!(ran.code(), 0, "{name}: {ran:#?}");
                assert_sound(&sandbox);
            });
        }
    });
}

#[test]
fn a_failed_layer_ends_downloads_whose_server_is_silent() {
    type Silence = fn(Reply) -> Reply;
    let silences: [(&str, Silence); 3] = [
        ("no answer", |_| {
            loop {
                std::thread::park();
            }
        }),
        ("no body", |good| good.pause(Duration::MAX)),
        ("a long pause", |_| {
            Reply::new(503, "").header("Retry-After", 60)
        }),
    ];
    for (name, silence) in silences {
        // The first request is for the configuration.
        let silent = OnceLock::new();
        let served = Served::misbehaving(move |nth, request, good| match nth {
            0 => good,
            2 => Reply::new(404, ""),
            _ if silent.get_or_init(|| request.target.clone()) == &request.target => silence(good),
            _ => good,
        });
        let sandbox = Sandbox::new();
        let ran = sandbox.udocker(["pull", &served.image("1")]).run();
        assert_eq!(ran.code(), 1, "{name}: {ran:#?}");
        ran.errs_in_one_line(&["cannot pull", "does not have"]);
    }
}

#[test]
fn pull_rejects_a_wrong_content_range() {
    // The first answer is cut; the next one has another range than requested.
    let served = Served::misbehaving(|_, request, good| match request.header("range") {
        None => good.cut_at(100),
        Some(_) => Reply::new(206, "something else").header("Content-Range", "bytes 7-20/21"),
    });
    let sandbox = Sandbox::new();
    let image = served.image("1");
    sandbox
        .udocker(["pull", &image])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["cannot pull"]);
    assert_eq!(
        sandbox
            .udocker(["images"])
            .run()
            .succeeds()
            .text()
            .lines()
            .count(),
        1
    );
}
