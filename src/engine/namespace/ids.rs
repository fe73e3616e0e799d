//! The mapping of the guest's user and group ids to ids of the host.
//!
//! An unprivileged process can map one user id and one group id, its own, to any id inside. With
//! subordinate ranges (see [`super::ranges`]) root inside is the caller, and the ids from 1 on are
//! those of the ranges.
//!
//! Source: user_namespaces(7), "Defining user and group ID mappings".

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};

use super::ranges::Ranges;
use crate::spec::Identity;

/// How ids are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdMap {
    /// One user id and one group id.
    Single(SingleId),
    /// Root, and subordinate ids for other users.
    Ranges(Ranges),
}

/// A mapping of one user id and one group id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SingleId {
    uid: u32,
    gid: u32,
    outer_uid: u32,
    outer_gid: u32,
}

impl SingleId {
    /// Maps the effective ids of this process to those of `identity`.
    pub(super) fn of(identity: Identity) -> SingleId {
        let (outer_uid, outer_gid) = (geteuid().as_raw(), getegid().as_raw());
        let (uid, gid) = match identity {
            Identity::Caller => (outer_uid, outer_gid),
            Identity::Emulated { uid, gid } => (uid, gid),
        };
        SingleId {
            uid,
            gid,
            outer_uid,
            outer_gid,
        }
    }

    /// The user id and group id inside.
    pub(super) fn inside(self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Writes the mapping for this process, which has just entered a new user namespace.
    pub(super) fn write(self) -> io::Result<()> {
        // Required before groups may be mapped; kernels before 3.19 have no such file.
        match write("setgroups", "deny") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write("uid_map", &format!("{} {} 1", self.uid, self.outer_uid))?;
        write("gid_map", &format!("{} {} 1", self.gid, self.outer_gid))
    }
}

/// Writes in one call, as the kernel requires.
fn write(name: &str, text: &str) -> io::Result<()> {
    fs::write(format!("/proc/self/{name}"), text)
}
