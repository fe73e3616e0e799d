//! Signals, the end of processes, and inherited descriptors.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::guest_run::{GuestRun, stdout, wrap};
use crate::support::requirement::has_tools;
use crate::support::wait::wait_until;

/// Starts a guest that runs `script`, and waits until it is ready.
fn start(sandbox: &GuestRun, script: &str) -> Child {
    let script = format!("{script}; touch /tmp/ready; while :; do sleep 0.05; done");
    let child = sandbox
        .command(&[], &["sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = sandbox.root().join("tmp/ready");
    wait_until("the guest runs", || ready.exists());
    fs::remove_file(ready).unwrap();
    child
}

/// Whether any process has its root or working directory in the sandbox, or names it in its
/// arguments.
fn is_anybody_left(sandbox: &GuestRun) -> bool {
    let root = sandbox.root().display().to_string();
    let identity = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        Some((data.dev(), data.ino()))
    };
    let tree = identity(&sandbox.root());
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let path = entry.path();
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let current = fs::read_link(path.join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&root)
            || current.starts_with(&root)
            || identity(&path.join("root")) == tree
    })
}

fn state(pid: &str) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.split_once("\nState:\t")?.1.chars().next()
}

fn has_ended(child: &Child) -> bool {
    state(&child.id().to_string()) == Some('Z')
}

/// Whether a process below `pid` is stopped, be it by its tracer.
fn is_any_stopped(pid: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    threads.flatten().flatten().any(|thread| {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children
            .split_whitespace()
            .any(|child| matches!(state(child), Some('T' | 't')) || is_any_stopped(child))
    })
}

/// Runs `inner` as the first process of a session on a terminal of its own.
fn on_terminal(inner: &Command) -> Command {
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let quoted = |word: &OsStr| format!("'{}'", word.to_str().unwrap());
    let words: Vec<String> = words.map(quoted).collect();
    let environment = inner.get_envs();
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &format!("exec {}", words.join(" ")), "/dev/null"])
        .env_clear()
        .envs(environment.filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped());
    terminal
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn terminating_signals_end_all_guest_processes() {
    for sandbox in GuestRun::in_each_mode() {
        for (sent, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
            let mut child = start(&sandbox, "sleep 300 & (sleep 300 &)");
            signal(&child, sent);
            assert_eq!(child.wait().unwrap().code(), Some(status), "{sent:?}");
            wait_until("the guests have ended", || !is_anybody_left(&sandbox));
        }
    }
}

#[test]
fn signals_reach_handlers_of_the_guest() {
    for sandbox in GuestRun::in_each_mode() {
        // HUP, QUIT, USR1, USR2, ALRM, XCPU, XFSZ, VTALRM, PROF, PWR, real-time ones, and TERM.
        const SIGNALS: &str = "1 3 10 12 14 24 25 26 27 30 34 37 64 15";
        let script = format!("for n in {SIGNALS}; do trap \"touch /tmp/$n\" $n; done");
        let mut child = start(&sandbox, &script);
        for number in SIGNALS.split(' ') {
            let kill = format!("kill -{number} {}", child.id());
            let sent = Command::new("/bin/sh").args(["-c", &kill]).status();
            assert!(sent.unwrap().success());
            let seen = sandbox.root().join("tmp").join(number);
            wait_until(&format!("signal {number} is seen"), || seen.exists());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The kernel sends SIGHUP only to the leader of the session, which is this program then.
#[test]
fn closed_terminal_ends_all_guest_processes() {
    if !has_tools(&["script"]) {
        return;
    }
    for sandbox in GuestRun::in_each_mode() {
        for words in [
            &["sleep", "300"][..],
            &["sh", "-c", "sleep 300; :"],
            &["sh", "-i"],
        ] {
            let mut terminal = on_terminal(&sandbox.command(&[], words))
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            wait_until("the guest runs", || is_anybody_left(&sandbox));
            terminal.kill().unwrap();
            terminal.wait().unwrap();
            wait_until("the guests have ended", || !is_anybody_left(&sandbox));
        }
    }
}

/// Nobody would continue it: no shell waits for a program that leads its session.
#[test]
fn the_stop_key_has_no_effect_where_no_shell_waits() {
    if !has_tools(&["script"]) {
        return;
    }
    for sandbox in GuestRun::in_each_mode() {
        let inner = sandbox.command(&[], &["sh", "-c", "kill -TSTP $$; exit 7"]);
        let mut terminal = on_terminal(&inner).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the guest has ended", || has_ended(&terminal));
        assert_eq!(terminal.wait().unwrap().code(), Some(7));
    }
}

#[test]
fn a_stopped_guest_can_be_continued_and_ended() {
    for sandbox in GuestRun::in_each_mode() {
        for (sent, status) in [(Signal::CONT, 7), (Signal::HUP, 129)] {
            let mut child = sandbox
                .command(&[], &["sh", "-c", "kill -STOP $$; exit 7"])
                .spawn()
                .unwrap();
            wait_until("the guest is stopped", || {
                is_any_stopped(&child.id().to_string())
            });
            signal(&child, sent);
            wait_until("the guest has ended", || {
                // A tracer may have stopped it before it stopped itself.
                if sent == Signal::CONT {
                    signal(&child, sent);
                }
                has_ended(&child)
            });
            assert_eq!(child.wait().unwrap().code(), Some(status), "{sent:?}");
        }
    }
}

/// `exec` keeps timers, so an `alarm` of the caller concerns this program.
#[test]
fn timer_of_the_caller_signals_the_guest() {
    if !has_tools(&["perl"]) {
        return;
    }
    for sandbox in GuestRun::in_each_mode() {
        let inner = sandbox.command(
            &[],
            &[
                "sh",
                "-c",
                "trap 'exit 42' ALRM; while :; do sleep 0.05; done",
            ],
        );
        let mut outer = Command::new("perl");
        wrap(outer.args(["-e", "alarm 1; exec @ARGV"]), &inner);
        assert_eq!(outer.status().unwrap().code(), Some(42));
    }
}

#[test]
fn signal_to_the_process_group_ends_all_guest_processes() {
    for sandbox in GuestRun::in_each_mode() {
        let script = "sleep 300 & (sleep 300 &) ; touch /tmp/ready; wait";
        let mut child = sandbox
            .command(&[], &["sh", "-c", script])
            .process_group(0)
            .spawn()
            .unwrap();
        let ready = sandbox.root().join("tmp/ready");
        wait_until("the guest runs", || ready.exists());
        let group = Pid::from_child(&child);
        rustix::process::kill_process_group(group, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
        wait_until("the guests have ended", || !is_anybody_left(&sandbox));
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    for sandbox in GuestRun::in_each_mode() {
        let inner = sandbox.command(&[], &["sh", "-c", "touch /tmp/ready; sleep 0.5; exit 3"]);
        // As with `nohup`.
        let mut outer = Command::new("/bin/sh");
        wrap(
            outer.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]),
            &inner,
        );
        let mut child = outer.stdin(Stdio::null()).spawn().unwrap();
        let ready = sandbox.root().join("tmp/ready");
        wait_until("the guest runs", || ready.exists());
        signal(&child, Signal::HUP);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn killed_udocker_leaves_no_guest_process() {
    for sandbox in GuestRun::in_each_mode() {
        let mut child = start(&sandbox, "sleep 300 & (sleep 300 &)");
        assert!(is_anybody_left(&sandbox));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the guests have ended", || !is_anybody_left(&sandbox));
    }
}

#[test]
fn stdin_may_be_file_pipe_empty_or_closed() {
    for sandbox in GuestRun::in_each_mode() {
        let count = || sandbox.command(&[], &["wc", "-c"]);

        let file = sandbox.host("input");
        fs::write(&file, "12345").unwrap();
        let output = count().stdin(File::open(&file).unwrap()).output().unwrap();
        assert_eq!(stdout(&output), "5\n");

        assert_eq!(stdout(&count().output().unwrap()), "0\n");

        let mut child = sandbox
            .command(&[], &["sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"echo from a script\nexit 8\n").unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(stdout(&output), "from a script\n");
        assert_eq!(output.status.code(), Some(8));

        let mut closed = Command::new("/bin/sh");
        let inner = count();
        wrap(closed.args(["-c", "exec \"$0\" \"$@\" <&-"]), &inner);
        assert_eq!(stdout(&closed.output().unwrap()), "0\n");
    }
}

#[test]
fn open_file_descriptors_are_inherited() {
    for sandbox in GuestRun::in_each_mode() {
        let file = sandbox.host("seven");
        fs::write(&file, "seventh").unwrap();
        let list = "cat <&7; ls /proc/self/fd | wc -l";
        let with_seven = |inner: &Command| {
            let mut outer = Command::new("/bin/sh");
            outer.args(["-c", "exec 7<\"$FILE\"; unset FILE; exec \"$0\" \"$@\""]);
            wrap(&mut outer, inner)
                .env("FILE", &file)
                .stdin(Stdio::null());
            stdout(&outer.output().unwrap())
        };
        let mut outside = Command::new("/bin/busybox");
        outside.args(["sh", "-c", list]).env("PATH", "/bin");
        // Exactly the descriptors of the caller: none is lost, and none is added.
        assert_eq!(
            with_seven(&sandbox.command(&[], &["sh", "-c", list])),
            with_seven(&outside)
        );
    }
}

#[test]
fn four_megabytes_pass_through_a_pipeline() {
    for sandbox in GuestRun::in_each_mode() {
        let mut child = sandbox
            .command(&[], &["sh", "-c", "cat | cat >&2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let data: Vec<u8> = (0..4_u32 << 20).map(|n| (n % 251) as u8).collect();
        let mut input = child.stdin.take().unwrap();
        let sent = data.clone();
        let writer = std::thread::spawn(move || input.write_all(&sent));
        let mut received = Vec::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_end(&mut received)
            .unwrap();
        writer.join().unwrap().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(received == data, "{} bytes", received.len());
    }
}
