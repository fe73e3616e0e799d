//! `doctor` on this host, and on simulated hosts with restrictions.

use serde_json::Value;

use crate::support::container;
use crate::support::requirement::has_user_namespaces;
use crate::support::sandbox::{Ran, Sandbox};

/// The checks in the output of `doctor --json`.
fn checks(ran: &Ran) -> Vec<Value> {
    let all: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"));
    all["checks"].as_array().unwrap().clone()
}

#[track_caller]
fn check(ran: &Ran, name: &str) -> Value {
    let mut checks = checks(ran).into_iter();
    let found = checks.find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {ran:#?}"))
}

/// The execution modes in the output of `doctor --json`.
fn modes(ran: &Ran) -> Value {
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["modes"].take()
}

#[test]
fn doctor_succeeds_here_and_leaves_only_the_engine() {
    let sandbox = Sandbox::new();
    let ran = sandbox.udocker(["doctor"]).run().succeeds();
    assert_eq!(ran.stderr, "");
    assert!(
        ran.stdout.contains("\nptrace           ok      "),
        "{ran:#?}"
    );
    assert!(
        ran.stdout
            .contains("\nContainers can run here in execution modes "),
        "{ran:#?}"
    );
    let json = sandbox.udocker(["doctor", "--json"]).run().succeeds();
    assert_eq!(check(&json, "ptrace")["result"], "ok");
    assert_eq!(
        check(&json, "repository")["found"],
        sandbox.store().join("containers").display().to_string()
    );
    sandbox.assert_empty();
    // `doctor` has unpacked the engine to try it, and made nothing else.
    let names = std::fs::read_dir(sandbox.store()).unwrap();
    let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bin"]);
}

#[test]
fn doctor_names_the_setting_that_forbids_user_namespaces() {
    let sandbox = Sandbox::new();
    let doctor = sandbox.udocker(["--allow-root", "doctor", "--json"]);
    let Some(ran) = doctor.run_confined("echo 0 > /proc/sys/user/max_user_namespaces") else {
        return;
    };
    let ran = ran.succeeds();
    let namespaces = check(&ran, "user namespaces");
    assert_eq!(namespaces["result"], "limited");
    assert_eq!(
        namespaces["found"],
        "the setting `user.max_user_namespaces` is 0"
    );
    assert_eq!(namespaces["who"], "an administrator");
    assert_eq!(
        namespaces["remedy"],
        "sysctl -w user.max_user_namespaces=10000"
    );
    assert_eq!(modes(&ran), serde_json::json!(["P1", "P2"]));
}

#[test]
fn doctor_reports_directories_mounted_noexec() {
    let sandbox = Sandbox::new();
    let tmp = sandbox.path("tmp");
    let doctor = sandbox.udocker(["--allow-root", "doctor", "--json"]);
    let script = format!("mount -t tmpfs -o noexec tmpfs '{}'", tmp.display());
    let Some(ran) = doctor.run_confined(&script) else {
        return;
    };
    let ran = ran.succeeds();
    let found = check(&ran, "temporary files");
    assert_eq!(
        (&found["result"], &found["who"]),
        (&"limited".into(), &"you".into())
    );
    let start = format!("{}: nothing can be executed there", tmp.display());
    assert!(
        found["found"].as_str().unwrap().starts_with(&start),
        "{found}"
    );
    assert_eq!(check(&ran, "engine directory")["result"], "ok");
}

#[test]
fn doctor_and_run_report_a_repository_mounted_noexec() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let remount = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,noexec,bind '{0}'",
        sandbox.store().display()
    );
    let udocker = |words: &[&str]| {
        let words = [&["--allow-root"], words].concat();
        sandbox.udocker(words).run_confined(&remount)
    };
    let Some(doctor) = udocker(&["doctor", "--json"]) else {
        return;
    };
    let found = check(&doctor, "repository");
    assert_eq!(found["result"], "no", "{found}");
    let found = found["found"].as_str().unwrap();
    assert!(found.contains(": nothing can be executed there"), "{found}");
    assert_eq!(modes(&doctor), serde_json::json!([]));
    assert_eq!(doctor.code(), 1);
    let ran = udocker(&["run", "--nobanner", "one", "sh"]).unwrap();
    let ran = ran.exits_with(126);
    ran.errs_in_one_line(&["command '/bin/busybox' cannot be executed", "noexec"]);
}

#[test]
fn doctor_reports_a_read_only_repository() {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    std::fs::create_dir_all(store.join("containers")).unwrap();
    let doctor = sandbox.udocker(["--allow-root", "doctor", "--json"]);
    let script = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}'",
        store.display()
    );
    let Some(ran) = doctor.run_confined(&script) else {
        return;
    };
    let ran = ran.succeeds();
    let (bin, containers) = (store.join("bin"), store.join("containers"));
    for (name, result, found) in [
        (
            "repository",
            "limited",
            format!(
                "{}: Read-only file system (os error 30)",
                containers.display()
            ),
        ),
        (
            "engine directory",
            "limited",
            format!(
                "{}: nothing can be written there (read-only filesystem or storage medium)",
                bin.display()
            ),
        ),
        ("locks", "ok", "files can be locked".to_string()),
    ] {
        let row = check(&ran, name);
        assert_eq!(
            (&row["result"], &row["found"]),
            (&result.into(), &found.into())
        );
    }
}

#[test]
fn doctor_reports_little_space_and_few_inodes() {
    let sandbox = Sandbox::new();
    let doctor = sandbox.udocker(["--allow-root", "doctor", "--json"]);
    let script = format!(
        "mount -t tmpfs -o size=1m,nr_inodes=20 tmpfs '{}'",
        sandbox.home().display()
    );
    let Some(ran) = doctor.run_confined(&script) else {
        return;
    };
    let ran = ran.succeeds();
    for (name, part) in [
        ("space", " MB free"),
        ("inodes", " free"),
        ("file system", "tmpfs; clones are copies"),
    ] {
        let found = check(&ran, name);
        assert!(found["found"].as_str().unwrap().contains(part), "{found}");
        let expected = if name == "file system" {
            "ok"
        } else {
            "limited"
        };
        assert_eq!(found["result"], expected, "{found}");
    }
}

#[test]
fn doctor_fails_where_no_mode_works() {
    let sandbox = Sandbox::new();
    let doctor = sandbox
        .udocker(["--allow-root", "doctor", "--json"])
        .env("UDOCKER_USE_PROOT_EXECUTABLE", "/bin/false");
    let Some(ran) = doctor.run_confined("echo 0 > /proc/sys/user/max_user_namespaces") else {
        return;
    };
    let ran = ran.exits_with(1);
    assert_eq!(ran.stderr, "Error: no container can run on this host\n");
    assert_eq!(check(&ran, "ptrace")["result"], "no");
    assert_eq!(modes(&ran), serde_json::json!([]));
}

#[test]
fn doctor_reports_a_policy_that_forbids_ptrace() {
    if !has_user_namespaces() {
        return;
    }
    let sandbox = Sandbox::new();
    let doctor = |calls: &[i64]| {
        let invocation = sandbox.udocker(["doctor", "--json"]);
        invocation.without_calls(calls, libc::EPERM).run()
    };
    let ran = doctor(&[libc::SYS_ptrace]).succeeds();
    let ptrace = check(&ran, "ptrace");
    assert_eq!(
        (&ptrace["result"], &ptrace["who"]),
        (&"no".into(), &"an administrator".into())
    );
    assert!(
        ptrace["found"]
            .as_str()
            .unwrap()
            .contains("Operation not permitted"),
        "{ptrace}"
    );
    assert_eq!(modes(&ran), serde_json::json!(["R1"]));
    // Without ptrace and namespaces no mode works.
    let ran = doctor(&[libc::SYS_ptrace, libc::SYS_unshare]).exits_with(1);
    assert_eq!(ran.stderr, "Error: no container can run on this host\n");
    let namespaces = check(&ran, "user namespaces");
    let found = namespaces["found"].as_str().unwrap();
    assert!(found.contains("security policy"), "{namespaces}");
    // With ptrace, but without seccomp filters.
    let ran = doctor(&[libc::SYS_seccomp]).succeeds();
    assert_eq!(check(&ran, "seccomp")["result"], "limited");
}

#[test]
fn doctor_asks_the_registry_only_with_net() {
    let sandbox = Sandbox::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let doctor = |arguments: &[&str]| {
        let invocation = sandbox.udocker([&["doctor", "--json"], arguments].concat());
        invocation
            .env("UDOCKER_REGISTRY", &address)
            .run()
            .succeeds()
    };
    let silent = doctor(&[]);
    assert!(
        checks(&silent)
            .iter()
            .all(|check| check["check"] != "registry")
    );
    let registry = check(&doctor(&["--net"]), "registry");
    assert_eq!(registry["result"], "no");
    assert!(
        registry["found"].as_str().unwrap().contains(&address),
        "{registry}"
    );
}

#[test]
fn doctor_reports_certificates_and_proxies() {
    let sandbox = Sandbox::new();
    let ran = sandbox
        .udocker(["doctor", "--json"])
        .env("SSL_CERT_FILE", "/nowhere.pem")
        .env("https_proxy", "http://me:secret@proxy:3128")
        .run()
        .succeeds();
    let certificates = check(&ran, "certificates");
    assert_eq!(certificates["result"], "no");
    assert!(
        certificates["found"]
            .as_str()
            .unwrap()
            .contains("/nowhere.pem"),
        "{ran:#?}"
    );
    assert_eq!(
        check(&ran, "proxies")["found"],
        "https http://\u{2026}@proxy:3128"
    );
    assert!(!ran.stdout.contains("secret"));
}

#[test]
fn empty_variables_leave_the_certificates_of_the_system() {
    let sandbox = Sandbox::new();
    let found = |variables: &[(&str, &str)]| {
        let doctor = sandbox.udocker(["doctor", "--json"]);
        let with = variables
            .iter()
            .fold(doctor, |doctor, (name, value)| doctor.env(name, value));
        check(&with.run().succeeds(), "certificates")["found"].take()
    };
    let of_system = found(&[]);
    for variables in [
        &[("SSL_CERT_FILE", "")][..],
        &[("SSL_CERT_DIR", "")],
        &[("SSL_CERT_DIR", ":")],
        &[("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "::")],
    ] {
        assert_eq!(found(variables), of_system, "{variables:?}");
    }
}
