//! Installs seccomp filters.

use std::io;

use rustix::thread::set_no_new_privs;
use seccompiler::{BpfProgram, BpfProgramRef, sock_filter};

use crate::host::process;

/// Installs a seccomp filter for this process and its descendants.
///
/// The filter is not a security boundary, so it is installed without the mitigations against
/// speculative execution that kernels before 5.16 turn on for filtered processes: they slow the
/// process down.
///
/// Source: seccomp(2), `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
///
/// # Errors
/// The kernel refuses, or has no seccomp.
pub(super) fn install(program: BpfProgramRef<'_>) -> io::Result<()> {
    set_no_new_privs(true)?;
    match load(program, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Kernels before 4.17 do not know the flag.
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
        reason = "seccompiler cannot install filters with this flag"
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

/// Finds out whether seccomp filters can be installed, which P1 needs to be faster than P2, and R1
/// to emulate root. A fork of this process installs a filter that allows everything, and ends.
///
/// # Errors
/// The filter cannot be installed, or this process cannot fork.
pub fn probe() -> io::Result<()> {
    // 6 is the BPF instruction "return this value".
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

    /// With handlers installed, only `SIGKILL` could end this program after a probe.
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
    fn a_filtered_process_may_install_another_filter() {
        super::probe().unwrap();
        super::probe().unwrap();
    }
}
