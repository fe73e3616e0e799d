//! Facts about the machine and the calling user.

/// The caller's real user id.
pub fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The caller's real group id.
pub fn gid() -> u32 {
    rustix::process::getgid().as_raw()
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
