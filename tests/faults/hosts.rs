//! Two hosts with one repository, on a file system whose locks tell the one nothing of the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::crowd::OTHERS_WERE_FASTER;
use crate::kills::{assert_can_be_emptied, assert_sound, listed};
use crate::served::{Random, Served};
use crate::support::requirement::skip;
use crate::support::sandbox::Sandbox;

const TIME: Duration = Duration::from_secs(10);

/// What `flock` answers, in this thread and all processes that it starts from now on.
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

/// Runs commands one after the other on a host of that name.
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
        let containers = listed(udocker(&["ps"]).succeeds().text());
        let some = random.below(containers.len().max(1) as u64) as usize;
        let some = containers.get(some).cloned().unwrap_or_default();
        let args: Vec<&str> = match random.below(8) {
            0 => vec!["pull", &image],
            1 | 2 => vec!["create", &image],
            3 | 4 => vec!["run", "--rm", "--nobanner", &image, "true"],
            5 => vec!["rm", &some],
            6 => vec!["clone", &some],
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
    let served = Served::start();
    let sandbox = Sandbox::new();
    let through = ["unshare", "--user", "--map-root-user", "--uts"];
    if sandbox.udocker(["version"]).through(&through).run().code() != 0 {
        skip("the system lets users make no hosts of their own");
        return;
    }
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
fn hosts_without_locks_do_not_take_each_others_work_for_left_behind() {
    two_hosts(libc::ENOLCK.unsigned_abs());
}

#[test]
fn hosts_whose_locks_the_other_does_not_see_do_not_either() {
    two_hosts(0);
}
