//! Two hosts that share a repository on a file system without locks, or whose locks are local to
//! each host.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::concurrency::OTHERS_WERE_FASTER;
use crate::io_errors::{can_trace, tampered};
use crate::kills::{assert_can_be_emptied, assert_sound, listed};
use crate::served::{Random, Served};
use crate::support::requirement::has_user_namespaces;
use crate::support::sandbox::{Invocation, Sandbox};
use crate::support::wait::wait_until;

const TIME: Duration = Duration::from_secs(10);

/// Makes `flock` return `errno` in this thread and in all processes that it starts.
fn answer_flock_with(errno: u32) {
    let rules = BTreeMap::from([(libc::SYS_flock, vec![])]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Runs random commands, one after another, on a simulated host named after `seed`.
fn host(sandbox: &Sandbox, served: &Served, seed: u64, flock: u32) {
    answer_flock_with(flock);
    let script = format!(r#"hostname host-{seed} && exec "$@""#);
    let enter = ["unshare", "--user", "--map-root-user", "--uts"];
    let through = [&enter[..], &["sh", "-c", &script, "sh"]].concat();
    let udocker = |args: &[&str]| {
        let run = sandbox.udocker(args).env("UDOCKER_ALLOW_ROOT", "1");
        run.through(&through).run()
    };
    let mut random = Random::new(seed);
    let deadline = Instant::now() + TIME;
    while Instant::now() < deadline {
        let image = served.image(&random.below(2).to_string());
        let other = served.image(&format!("other{}", random.below(2)));
        let containers = listed(udocker(&["ps"]).succeeds().text());
        let some = random.below(containers.len().max(1) as u64) as usize;
        let some = containers
            .get(some)
            .cloned()
            .unwrap_or_else(|| "none".to_string());
        let args: Vec<&str> = match random.below(12) {
            0 => vec!["pull", &image],
            1 | 2 => vec!["create", &image],
            3 | 4 => vec!["run", "--rm", "--nobanner", &image, "true"],
            5 => vec!["rm", &some],
            6 => vec!["clone", &some],
            7 | 8 => vec!["tag", &image, &other],
            9 => vec!["rmi", if random.below(2) == 0 { &image } else { &other }],
            10 => vec!["gc"],
            _ => vec!["images"],
        };
        let ran = udocker(&args);
        let is_expected = ran.code() == 0
            || OTHERS_WERE_FASTER
                .iter()
                .any(|part| ran.stderr.contains(part));
        assert!(is_expected, "{ran:#?}");
    }
}

fn two_hosts(flock: u32) {
    if !has_user_namespaces() {
        return;
    }
    let served = Served::start();
    let sandbox = Sandbox::new();
    std::thread::scope(|scope| {
        let (sandbox, served) = (&sandbox, &served);
        let hosts = [1, 2].map(|seed| scope.spawn(move || host(sandbox, served, seed, flock)));
        for host in hosts {
            host.join().unwrap();
        }
    });
    assert_sound(&sandbox);
    assert_can_be_emptied(&sandbox);
}

#[test]
fn hosts_without_locks_keep_each_others_unfinished_work() {
    two_hosts(libc::ENOLCK.unsigned_abs());
}

#[test]
fn hosts_with_local_locks_keep_each_others_unfinished_work() {
    two_hosts(0);
}

#[test]
fn blobs_removed_by_another_host_are_fetched_again_or_fail_the_command() {
    let served = Served::start();
    let sandbox = Sandbox::new();
    if !can_trace(&sandbox) {
        return;
    }
    let (image, new) = (served.image("1"), served.image("2"));
    let (_, name) = new.split_once("://").unwrap();
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let directory = sandbox.store().join("repos").join(repository).join(tag);
    for (args, status) in [(&["pull", &new][..], 0), (&["tag", &image, &new], 1)] {
        sandbox.udocker(["pull", &image]).run().succeeds();
        let without_locks = |run: Invocation| run.without_calls(&[libc::SYS_flock], libc::ENOLCK);
        let slow = tampered(
            sandbox.udocker(args),
            "symlink,symlinkat",
            "delay_enter=200000",
        );
        let slow = without_locks(slow).spawn();
        wait_until("the new image is begun", || directory.is_dir());
        let removed = without_locks(sandbox.udocker(["rmi", &image])).run();
        removed.succeeds();
        assert_eq!(slow.wait().code(), Some(status), "{args:?}");
        assert_sound(&sandbox);
        let images = sandbox.udocker(["images"]).run().succeeds();
        let listed = listed(images.text());
        assert_eq!(listed.len(), usize::from(status == 0), "{listed:?}");
        for image in listed {
            sandbox.udocker(["rmi", &image]).run().succeeds();
        }
    }
    assert_can_be_emptied(&sandbox);
}
