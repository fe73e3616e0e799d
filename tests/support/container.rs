//! Containers written into a repository directly, in the format of both programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::image::BUSYBOX;
use super::sandbox::Sandbox;

/// Makes a container `one` without programs, and returns its directory.
pub fn empty(sandbox: &Sandbox) -> PathBuf {
    let containers = sandbox.store().join("containers");
    let directory = containers.join("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0");
    fs::create_dir_all(directory.join("ROOT/usr/lib/x86_64-linux-gnu")).unwrap();
    fs::create_dir_all(directory.join("ROOT/etc")).unwrap();
    fs::write(directory.join("container.json"), "{}").unwrap();
    fs::write(directory.join("imagerepo.name"), "lab/tool:1").unwrap();
    symlink(directory.file_name().unwrap(), containers.join("one")).unwrap();
    directory
}

/// Makes a container `one` with a shell, and returns its directory.
pub fn busybox(sandbox: &Sandbox) -> PathBuf {
    let directory = empty(sandbox);
    let root = directory.join("ROOT");
    for name in ["bin", "dev", "proc", "sys", "tmp", "root"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "echo", "ls", "true", "touch"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    directory
}
