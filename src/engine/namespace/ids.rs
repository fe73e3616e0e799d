//! Who the guest is: which ids inside stand for which outside.
//!
//! Without privilege one id of each kind can be mapped, the caller's own, to any id inside. With
//! ranges that an administrator has granted (see [`super::ranges`]) root inside is the caller, and
//! the others, from 1, are those of the ranges.
//!
//! Source: user_namespaces(7), "Defining user and group ID mappings".

use std::fs;
use std::io;

use rustix::process::{getegid, geteuid};

use super::ranges::Ranges;
use crate::spec::Identity;

/// The ids that a guest has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdMap {
    /// One of each kind.
    Single(SingleId),
    /// Root and others.
    Ranges(Ranges),
}

/// The lines of `uid_map` and `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SingleId {
    uid: u32,
    gid: u32,
    outer_uid: u32,
    outer_gid: u32,
}

impl SingleId {
    /// Shows the effective ids of this process as `identity`.
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

    /// The ids inside.
    pub(super) fn inside(self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Maps the ids of this process, which has just entered a new user namespace.
    pub(super) fn write(self) -> io::Result<()> {
        // Demanded before groups may be mapped; kernels before 3.19 know no such file.
        match write("setgroups", "deny") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write("uid_map", &format!("{} {} 1", self.uid, self.outer_uid))?;
        write("gid_map", &format!("{} {} 1", self.gid, self.outer_gid))
    }
}

/// In one write, as the kernel demands.
fn write(name: &str, text: &str) -> io::Result<()> {
    fs::write(format!("/proc/self/{name}"), text)
}
