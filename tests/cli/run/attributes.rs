//! Owners, modes and devices set by emulated root: the next run shows them, `clone` and `export`
//! copy them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::support::container;
use crate::support::sandbox::Sandbox;

const MAKE: &str = "cd /kept; echo x >file; busybox ln file hard; busybox ln -s file soft; \
    busybox mkdir folder; busybox mknod -m 620 tty c 4 65; echo >locked; \
    busybox chown 33:44 file; busybox chown -h 5:6 soft; busybox chown 3000000:7 folder; \
    busybox chmod 2500 folder; busybox chown 0:5 tty; busybox chmod 0 locked; cat locked";

const SHOW: &str = "cd /kept; busybox stat -c '%n %u:%g %a %F' file hard soft folder tty locked";

const SHOWN: &str = "file 33:44 644 regular file\n\
    hard 33:44 644 regular file\n\
    soft 5:6 777 symbolic link\n\
    folder 3000000:7 2500 directory\n\
    tty 0:5 620 character special file\n\
    locked 0:0 0 regular file";

/// A container `one` with a directory `/kept` that emulated root has filled.
fn worked_in(mode: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    fs::create_dir(directory.join("ROOT/kept")).unwrap();
    sandbox
        .udocker(["setup", &format!("--execmode={mode}"), "one"])
        .run()
        .succeeds();
    shell(&sandbox, "one", MAKE);
    let file = fs::metadata(directory.join("ROOT/kept/file")).unwrap();
    assert_eq!(file.uid(), rustix::process::getuid().as_raw());
    assert_eq!(file.nlink(), 2);
    sandbox
}

fn shell(sandbox: &Sandbox, container: &str, script: &str) -> String {
    let arguments = ["-q", "run", container, "sh", "-ec", script];
    let text = sandbox.udocker(arguments).run().succeeds().stdout;
    text.trim_end().to_string()
}

#[test]
fn emulated_ownership_persists_to_the_next_run() {
    for mode in ["P1", "P2"] {
        let sandbox = worked_in(mode);
        assert_eq!(shell(&sandbox, "one", SHOW), SHOWN, "{mode}");
    }
}

#[test]
fn emulated_ownership_shows_in_a_read_only_container() {
    let sandbox = worked_in("P1");
    let directory = fs::canonicalize(sandbox.store().join("containers/one")).unwrap();
    let set_mode = |mode| fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    set_mode(0o555);
    let shown = shell(&sandbox, "one", SHOW);
    set_mode(0o755);
    assert_eq!(shown, SHOWN);
}

#[test]
fn clone_copies_emulated_ownership() {
    let sandbox = worked_in("P1");
    sandbox
        .udocker(["clone", "--name=two", "one"])
        .run()
        .succeeds();
    sandbox
        .udocker(["setup", "--execmode=P1", "two"])
        .run()
        .succeeds();
    let before = shell(&sandbox, "one", SHOW);
    assert_eq!(shell(&sandbox, "two", SHOW), before);
    shell(
        &sandbox,
        "two",
        "busybox chown -R 0:0 /kept; busybox chmod 700 /kept/locked",
    );
    assert_eq!(shell(&sandbox, "one", SHOW), before);
    assert_ne!(shell(&sandbox, "two", SHOW), before);
}

#[test]
fn export_holds_emulated_ownership() {
    let sandbox = worked_in("P1");
    sandbox
        .udocker(["export", "-o", "one.tar", "one"])
        .run()
        .succeeds();
    let listing = Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(sandbox.path("one.tar"))
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let mut found: Vec<String> = listing
        .lines()
        .filter(|line| line.contains("kept/"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // `tar` lists the device numbers of a device in place of a size.
            let size = if words[0].starts_with('c') {
                words[2]
            } else {
                ""
            };
            format!("{} {} {size} {}", words[0], words[1], words[5..].join(" "))
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "---------- 0/0  ./kept/locked",
            "-rw-r--r-- 33/44  ./kept/file",
            "crw--w---- 0/5 4,65 ./kept/tty",
            "dr-x--S--- 3000000/7  ./kept/folder/",
            "drwxr-xr-x 0/0  ./kept/",
            "hrw-r--r-- 33/44  ./kept/hard link to ./kept/file",
            "lrwxrwxrwx 5/6  ./kept/soft -> file",
        ]
    );
}

#[test]
fn rm_removes_the_record_of_emulated_ownership() {
    let sandbox = worked_in("P1");
    sandbox.udocker(["rm", "one"]).run().succeeds();
    let left = fs::read_dir(sandbox.store().join("containers")).unwrap();
    assert_eq!(left.count(), 0);
}
