//! Hosts that do not allow namespaces: `auto` uses P1 silently, and R1 fails with one line that
//! names the cause.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::guest_run::{GuestRun, in_r1, stdout, wrap};
use crate::support::refusal::Refusal;

/// Makes a system call of this process fail as it does under a security policy, or `pivot_root` as
/// it does where the root is the initramfs.
pub(crate) fn refuse(name: &str) {
    let (call, errno) = match name {
        "unshare" => (libc::SYS_unshare, libc::EPERM),
        "mount" => (libc::SYS_mount, libc::EPERM),
        "pivot_root" => (libc::SYS_pivot_root, libc::EPERM),
        "leaving-initramfs" => (libc::SYS_pivot_root, libc::EINVAL),
        _ => panic!("no such refusal: {name}"),
    };
    Refusal::of(&[call], errno).install().unwrap();
}

/// Runs in a user namespace after the shell script `prepare`.
fn nested(sandbox: &GuestRun, prepare: &str, options: &[&str], script: &str) -> Output {
    let inner = sandbox.command(options, &["sh", "-c", script]);
    let mut outer = Command::new("unshare");
    outer
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!("{prepare}\nexec \"$0\" \"$@\""));
    wrap(&mut outer, &inner)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn refused_namespaces_fail_r1_with_the_cause_and_auto_uses_p1() {
    let Some(sandbox) = in_r1() else { return };
    let policy = "a security policy forbids them";
    for (prepare, option, cause) in [
        (
            "echo 0 >/proc/sys/user/max_user_namespaces",
            "",
            "the setting `user.max_user_namespaces` is 0",
        ),
        (
            "echo 0 >/proc/sys/user/max_user_namespaces",
            "processes=own",
            "the setting `user.max_user_namespaces` is 0",
        ),
        ("", "refuse=unshare", policy),
        ("", "refuse=mount", policy),
        ("", "refuse=pivot_root", policy),
        (
            "mount -t tmpfs none /proc",
            "",
            "/proc, where ids are mapped, is not there",
        ),
    ] {
        let output = nested(&sandbox, prepare, &[option], "exit 7");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(125),
            "{prepare}{option}: {stderr}"
        );
        let told = format!("mode R1 cannot be used: this host allows no user namespaces: {cause}");
        assert!(stderr.contains(&told), "{prepare}{option}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");

        let script = "echo $container_execmode; exit 7";
        let output = nested(&sandbox, prepare, &[option, "auto=yes"], script);
        let told = (output.status.code(), stdout(&output), output.stderr);
        let expected = (Some(7), "P1\n".to_string(), Vec::new());
        assert_eq!(told, expected, "{prepare}{option}");
    }
}

#[test]
fn r1_runs_inside_another_user_namespace() {
    let Some(sandbox) = in_r1() else { return };
    for options in [&["auto=yes"][..], &[]] {
        let output = nested(&sandbox, "", options, "echo $container_execmode; exit 7");
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert_eq!(stdout(&output), "R1\n");
    }
}

#[test]
fn init_works_without_a_proc_of_its_own() {
    let Some(sandbox) = in_r1() else { return };
    // Containers hide parts of /proc; the kernel then refuses to mount another one.
    let hide = "mount --bind /dev/null /proc/version";
    let script = "(sleep 0.1 & exec sleep 0.2) & test -e /proc/self/exe && exit 7";
    let output = nested(&sandbox, hide, &["processes=reaped"], script);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = nested(&sandbox, hide, &["processes=own"], script);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = "Error: cannot mount '/proc' for processes of its own: Operation not permitted";
    assert!(stderr.starts_with(told), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn inside_proot_r1_fails_with_the_cause_and_auto_uses_p1() {
    let outer = GuestRun::new("P1");
    let inner = GuestRun::new("R1");
    // A script without arguments, since the words of the inner run become an option of the outer
    // run.
    let script = inner.root().join("bin/script");
    fs::write(&script, "#!/bin/sh\necho $container_execmode; exit 7\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |options: &[&str]| {
        let command = inner.command(options, &["script"]);
        let program = command.get_program().to_str().unwrap();
        let mut binds = vec![
            format!("volume={program}:/runner"),
            format!("volume={}", inner.host("").display()),
        ];
        for (name, value) in command.get_envs() {
            let (name, value) = (name.to_str().unwrap(), value.unwrap().to_str().unwrap());
            binds.push(format!("env={name}={value}"));
        }
        let binds: Vec<&str> = binds.iter().map(String::as_str).collect();
        let words = command.get_args().map(|word| word.to_str().unwrap());
        let words: Vec<&str> = std::iter::once("/runner").chain(words).collect();
        outer.run(&binds, &words)
    };
    let output = run(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    let told = "mode R1 cannot be used: PRoot around this process allows no user namespaces";
    assert!(stderr.contains(told), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let output = run(&["auto=yes"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(stdout(&output).ends_with("P1\n"), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
