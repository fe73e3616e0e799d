//! Root emulation: a seccomp filter that answers success to what an ordinary user cannot do.
//!
//! With one id mapped, every other owner, user and group is out of reach, and so are device nodes.
//! Package managers, archivers and servers insist on them. The filter answers success without
//! doing anything, to calls only that name such ids or devices; all others reach the kernel. What
//! it cannot do is remember: after `setuid(33)` the process is still root, and the owner of a file
//! stays who it was. Whoever checks notices; PRoot emulates more.
//!
//! The filter costs next to nothing: since Linux 5.11 the kernel knows which calls it lets through
//! whatever their arguments.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::ids::SingleId;
use crate::engine::filter;

/// A filter, ready to be installed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filter(BpfProgram);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter of {} instructions", self.0.len())
    }
}

/// "No change" in calls that set ids.
const UNCHANGED: u32 = u32::MAX;

impl Filter {
    /// The filter for a root that has one id only; `None` for everybody else, and on machines for
    /// which no filter can be built.
    pub(super) fn for_root(id: SingleId) -> Option<Filter> {
        let (0, gid) = id.inside() else {
            return None;
        };
        build(gid).map(Filter)
    }

    /// Installs it for this process and those that come from it.
    pub(super) fn install(&self) -> io::Result<()> {
        filter::install(&self.0)
    }
}

fn build(gid: u32) -> Option<BpfProgram> {
    let target: TargetArch = std::env::consts::ARCH.try_into().ok()?;
    let rules = rules(gid).ok()?;
    let ruled: Vec<u32> = rules
        .keys()
        .filter_map(|&call| call.try_into().ok())
        .collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), target);
    let mut program: BpfProgram = filter.ok()?.try_into().ok()?;
    // The program begins with: load the architecture; skip one if it is the target; kill. Programs
    // of the machine's other architectures (32 bits) are to run without emulation instead.
    let other_architecture = program.get_mut(2)?;
    other_architecture.k = libc::SECCOMP_RET_ALLOW;
    // Then it loads the number of the call, and compares it with each that has rules.
    const FIRST_COMPARISON: usize = 4;
    let shortcuts = unruled(&ruled).into_iter().flat_map(let_through);
    program.splice(FIRST_COMPARISON..FIRST_COMPARISON, shortcuts);
    Some(program)
}

/// The long runs of calls without rules, by their numbers; `ruled` ascends.
///
/// While a filter is installed the kernel follows it for every number there is, to know which it
/// always lets through. One comparison after the other, that takes a twelfth of the time of a start.
fn unruled(ruled: &[u32]) -> Vec<Range<u32>> {
    const WORTHWHILE: usize = 32;
    let starts = std::iter::once(0).chain(ruled.iter().map(|number| number + 1));
    let ends = ruled.iter().copied().chain([u32::MAX]);
    starts
        .zip(ends)
        .map(|(start, end)| start..end)
        .filter(|run| run.len() >= WORTHWHILE)
        .collect()
}

/// Lets a call through whose number, loaded before, is in `run`.
fn let_through(run: Range<u32>) -> [sock_filter; 3] {
    const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        instruction(JUMP_IF_AT_LEAST, 0, 2, run.start),
        instruction(JUMP_IF_AT_LEAST, 1, 0, run.end),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// When each call is answered: if any of its rules holds.
fn rules(gid: u32) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let owner = |first: u8| -> Result<Vec<SeccompRule>, BackendError> {
        Ok(vec![foreign(first, 0)?, foreign(first + 1, gid)?])
    };
    let any = |ids: u8, own: u32| -> Result<Vec<SeccompRule>, BackendError> {
        (0..ids).map(|index| foreign(index, own)).collect()
    };
    rules.insert(libc::SYS_fchown, owner(1)?);
    rules.insert(libc::SYS_fchownat, owner(2)?);
    rules.insert(libc::SYS_mknodat, devices(2)?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_chown, owner(1)?);
        rules.insert(libc::SYS_lchown, owner(1)?);
        rules.insert(libc::SYS_mknod, devices(1)?);
    }
    for (call, ids) in [
        (libc::SYS_setuid, 1),
        (libc::SYS_setreuid, 2),
        (libc::SYS_setresuid, 3),
    ] {
        rules.insert(call, any(ids, 0)?);
    }
    for (call, ids) in [
        (libc::SYS_setgid, 1),
        (libc::SYS_setregid, 2),
        (libc::SYS_setresgid, 3),
    ] {
        rules.insert(call, any(ids, gid)?);
    }
    // Never allowed with a map of one group.
    rules.insert(libc::SYS_setgroups, Vec::new());
    Ok(rules)
}

/// Argument `index` is an id, and none that can be had.
fn foreign(index: u8, own: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![
        condition(index, SeccompCmpOp::Ne, own)?,
        condition(index, SeccompCmpOp::Ne, UNCHANGED)?,
    ])
}

/// Argument `index` is the mode of a device.
fn devices(index: u8) -> Result<Vec<SeccompRule>, BackendError> {
    [libc::S_IFCHR, libc::S_IFBLK]
        .into_iter()
        .map(|kind| {
            let is_kind = SeccompCmpOp::MaskedEq(libc::S_IFMT.into());
            SeccompRule::new(vec![condition(index, is_kind, kind)?])
        })
        .collect()
}

fn condition(
    index: u8,
    operator: SeccompCmpOp,
    value: u32,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_between_ruled_calls_are_found() {
        assert_eq!(
            unruled(&[92, 93, 105, 133, 259]),
            [0..92, 134..259, 260..u32::MAX]
        );
    }

    #[test]
    fn rules_are_reached_behind_the_shortcuts() {
        let numbers = rules(0).unwrap();
        let program = build(0).unwrap();
        // Where the jumps lead for a number, from its loading on.
        let is_at_once_let_through = |number: u32| {
            let mut position = 4;
            loop {
                let step = &program[position];
                position += match u32::from(step.code) {
                    libc::BPF_RET => return step.k == libc::SECCOMP_RET_ALLOW,
                    0x35 if number >= step.k => usize::from(step.jt) + 1,
                    0x35 => usize::from(step.jf) + 1,
                    _ => return false,
                };
            }
        };
        for call in [
            libc::SYS_read,
            libc::SYS_execve,
            libc::SYS_openat2,
            0x4000_0000,
        ] {
            assert!(is_at_once_let_through(call.try_into().unwrap()), "{call}");
        }
        for &call in numbers.keys() {
            assert!(!is_at_once_let_through(call.try_into().unwrap()), "{call}");
        }
    }
}
