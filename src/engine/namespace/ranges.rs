//! Subordinate ids: ranges of ids that the administrator has granted to the caller in `/etc/subuid`
//! and `/etc/subgid`, in lines `NAME-OR-UID:FIRST:COUNT`. Only the programs `newuidmap` and
//! `newgidmap`, which are installed with the necessary privilege, can map them.
//!
//! Source: subuid(5), newuidmap(1).

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use crate::host::facts::Caller;
use crate::host::fs::read_lossy;
use crate::host::process::{self, unshare_with_id_mapper};

/// Subordinate ids that can be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    users: Extents,
    groups: Extents,
    tools: [PathBuf; 2],
}

/// The subordinate ids of the caller, whether they can be mapped or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The number of user ids.
    pub users: u32,
    /// The number of group ids.
    pub groups: u32,
    /// The programs for mapping them that are not installed.
    pub missing: Vec<&'static str>,
}

impl Grant {
    /// Reads `/etc/subuid` and `/etc/subgid`.
    pub fn look_up() -> Grant {
        let caller = Caller::look_up(None).account;
        let count = |file: &str| {
            let text = read_lossy(Path::new(file)).unwrap_or_default();
            Extents::of(&text, &caller.name, caller.uid).map_or(0, |extents| extents.count())
        };
        Grant {
            users: count("/etc/subuid"),
            groups: count("/etc/subgid"),
            missing: ["newuidmap", "newgidmap"]
                .into_iter()
                .filter(|name| tool(name).is_none())
                .collect(),
        }
    }
}

/// Ranges of user ids or of group ids, each with first id and count; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extents(Vec<(u32, u32)>);

impl Ranges {
    /// The caller's subordinate ids; `None` if there are none, or a program for mapping them is
    /// missing.
    pub(super) fn granted() -> Option<Ranges> {
        let users = read_lossy(Path::new("/etc/subuid")).ok()?;
        let groups = read_lossy(Path::new("/etc/subgid")).ok()?;
        if users.trim().is_empty() || groups.trim().is_empty() {
            return None;
        }
        let tools = [tool("newuidmap")?, tool("newgidmap")?];
        let caller = Caller::look_up(None).account;
        Some(Ranges {
            users: Extents::of(&users, &caller.name, caller.uid)?,
            groups: Extents::of(&groups, &caller.name, caller.uid)?,
            tools,
        })
    }

    /// Enters a new user namespace, and other namespaces that `flags` names, as root.
    ///
    /// # Errors
    /// The kernel refuses, or `newuidmap` or `newgidmap` fails.
    pub(super) fn enter(&self, flags: UnshareFlags) -> io::Result<()> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        unshare_with_id_mapper(flags | UnshareFlags::NEWUSER, |target| {
            let maps = [self.users.map(uid), self.groups.map(gid)];
            let calls = self.tools.iter().zip(maps).map(|(tool, map)| {
                let numbers = map.iter().map(u32::to_string);
                let arguments = std::iter::once(target.to_string()).chain(numbers);
                (tool.as_path(), arguments.collect())
            });
            process::run_together(calls)
        })
    }
}

fn tool(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}

impl Extents {
    /// The ranges that `text` grants to the caller, as far as the ids inside fit into 32 bits.
    fn of(text: &str, name: &str, uid: u32) -> Option<Extents> {
        let mut found = Vec::new();
        let mut total = 0_u32;
        for line in text.lines() {
            let mut fields = line.trim().split(':');
            let (Some(owner), Some(first), Some(count)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let is_callers = owner == name || owner.parse() == Ok(uid);
            if let (true, Ok(first), Ok(count)) = (is_callers, first.parse(), count.parse())
                && count > 0
                && let Some(sum) = total.checked_add(count).filter(|sum| *sum < u32::MAX)
            {
                total = sum;
                found.push((first, count));
            }
        }
        (!found.is_empty()).then_some(Extents(found))
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The arguments of `newuidmap`: triples of first id inside, first id outside, and count.
    fn map(&self, own: u32) -> Vec<u32> {
        let mut map = vec![0, own, 1];
        let mut inside = 1;
        for &(first, count) in &self.0 {
            map.extend([inside, first, count]);
            inside += count;
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subid_grants_are_parsed() {
        let text = "other:1:2\nme:100000:65536\n\n# no\nme:x:1\n1000:300000:10\nme:5:0\n";
        let extents = Extents::of(text, "me", 1000).unwrap();
        assert_eq!(
            extents.map(1000),
            [0, 1000, 1, 1, 100_000, 65536, 65537, 300_000, 10]
        );
        assert_eq!(extents.count(), 65_546);
        assert_eq!(Extents::of(text, "stranger", 7), None);
        assert_eq!(Extents::of("me:0:4294967295", "me", 7), None);
    }
}
