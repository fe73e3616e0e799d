//! The children of a process.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

/// The children of the main thread of `parent`, as far as `/proc` shows them.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    let id = parent.as_raw_nonzero();
    match fs::read_to_string(format!("/proc/{id}/task/{id}/children")) {
        Ok(list) => list.split_whitespace().filter_map(pid).collect(),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => search_children(parent),
    }
}

/// Finds the children of `parent` by reading the parent of every process.
fn search_children(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter(|&child| parent_of(child) == Some(parent))
        .collect()
}

/// Source: proc_pid_stat(5). The second field is a name in parentheses; it may contain any
/// character.
fn parent_of(child: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/stat", child.as_raw_nonzero());
    let bytes = fs::read(Path::new(&path)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (_, fields) = text.rsplit_once(')')?;
    pid(fields.split_whitespace().nth(1)?)
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::getpid;

    use super::*;

    #[test]
    fn children_are_found_either_way() {
        // Two of a process with one thread.
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "sleep 60 & sleep 60 & echo; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let parent = Pid::from_child(&shell);
        let mut found = [children_of(parent), search_children(parent)];
        found
            .iter_mut()
            .for_each(|children| children.sort_by_key(|child| child.as_raw_nonzero()));
        assert_eq!(found[0].len(), 2);
        assert_eq!(found[0], found[1]);
        assert!(search_children(getpid()).contains(&parent));
        for child in found[0].iter().chain([&parent]) {
            rustix::process::kill_process(*child, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
    }
}
