//! Filters for system calls.

use std::io;

use rustix::thread::set_no_new_privs;
use seccompiler::{BpfProgram, BpfProgramRef, sock_filter};

use crate::host::process;

/// Has the kernel filter the system calls of this process, and of those that come from it.
///
/// A filter is no jail here, so it is installed without the measures against speculative execution
/// that kernels before 5.16 take for whoever filters, which slow everything down.
///
/// Source: seccomp(2), `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
///
/// # Errors
/// The system refuses.
pub(super) fn install(program: BpfProgramRef<'_>) -> io::Result<()> {
    set_no_new_privs(true)?;
    match load(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Not known before Linux 4.17.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => load(program, 0),
        result => result,
    }
}

fn load(program: BpfProgramRef<'_>, flags: libc::c_ulong) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    #[allow(
        unsafe_code,
        reason = "seccompiler installs filters without this flag only"
    )]
    // SAFETY: the kernel copies the instructions, which the pointer and the length describe.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Finds out whether a process may filter its system calls here, which makes P1 faster than P2 and
/// lets R1 imitate root: by installing a filter that allows all, in a process that ends at once.
///
/// # Errors
/// It may not, or no process can be started.
pub fn probe() -> io::Result<()> {
    // BPF for "return this answer".
    let allow_all: BpfProgram = vec![sock_filter {
        code: 6,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    }];
    process::run_in_fork(|| install(&allow_all))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use crate::engine::namespace;
    use crate::host::process::run_in_fork;

    /// Else nothing but `SIGKILL` could end this program after a probe.
    #[test]
    fn probes_install_no_signal_handlers() {
        let caught = || {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let mut lines = status.lines().map(str::to_string);
            lines.find(|line| line.starts_with("SigCgt:"))
        };
        run_in_fork(|| {
            let before = caught();
            let _ = (super::probe(), namespace::probe());
            match before.is_some() && caught() == before {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::EINTR)),
            }
        })
        .unwrap();
    }

    #[test]
    fn who_filters_already_may_do_it_again() {
        super::probe().unwrap();
        super::probe().unwrap();
    }
}
