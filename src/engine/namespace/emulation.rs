//! Root emulation: a seccomp filter that reports success for calls that only real root can make.
//!
//! With a single id mapped, files cannot be given to other owners, processes cannot switch to other
//! users and groups, and device nodes cannot be made. Package managers, archivers and servers fail
//! then. The filter answers calls that name such ids or devices with success, without doing
//! anything; all other calls reach the kernel. The filter has no memory: after `setuid(33)` the
//! process is still root, and the owner of a file does not change. Programs that check this notice;
//! PRoot emulates more.
//!
//! The filter costs almost nothing: since Linux 5.11 the kernel caches which calls it always
//! allows.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::ids::SingleId;
use crate::engine::filter;

/// A compiled filter.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filter(BpfProgram);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter of {} instructions", self.0.len())
    }
}

/// The id -1, which means "no change" in calls that set ids.
const UNCHANGED: u32 = u32::MAX;

impl Filter {
    /// The filter for root with a single mapped id; `None` for other users, and on architectures
    /// that seccompiler does not support.
    pub(super) fn for_root(id: SingleId) -> Option<Filter> {
        let (0, gid) = id.inside() else {
            return None;
        };
        build(gid).map(Filter)
    }

    /// Installs the filter for this process and its descendants.
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
    // The program begins with: load the architecture; skip one instruction if it is the target;
    // kill. Programs of another architecture of the machine (32 bits) run without emulation
    // instead.
    let other_architecture = program.get_mut(2)?;
    other_architecture.k = libc::SECCOMP_RET_ALLOW;
    // Then it loads the number of the call, and compares it with each number that has rules.
    const FIRST_COMPARISON: usize = 4;
    let shortcuts = ranges_without_rules(&ruled).into_iter().flat_map(allow);
    program.splice(FIRST_COMPARISON..FIRST_COMPARISON, shortcuts);
    Some(program)
}

/// The long ranges of call numbers without rules; `ruled` is in ascending order.
///
/// When a filter is installed, the kernel runs it for every call number, to find out which calls it
/// always allows. Without shortcuts for these ranges that takes a twelfth of the start-up time.
fn ranges_without_rules(ruled: &[u32]) -> Vec<Range<u32>> {
    const WORTHWHILE: usize = 32;
    let starts = std::iter::once(0).chain(ruled.iter().map(|number| number + 1));
    let ends = ruled.iter().copied().chain([u32::MAX]);
    starts
        .zip(ends)
        .map(|(start, end)| start..end)
        .filter(|range| range.len() >= WORTHWHILE)
        .collect()
}

/// Instructions that allow a call if its number, which has been loaded, is in `range`.
fn allow(range: Range<u32>) -> [sock_filter; 3] {
    const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        instruction(JUMP_IF_AT_LEAST, 0, 2, range.start),
        instruction(JUMP_IF_AT_LEAST, 1, 0, range.end),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The calls with rules. A call is answered if any of its rules matches.
fn rules(gid: u32) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let owner = |first: u8| -> Result<Vec<SeccompRule>, BackendError> {
        Ok(vec![other_id(first, 0)?, other_id(first + 1, gid)?])
    };
    let any = |ids: u8, own: u32| -> Result<Vec<SeccompRule>, BackendError> {
        (0..ids).map(|index| other_id(index, own)).collect()
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
    // Without conditions: with a map of one group the call always fails.
    rules.insert(libc::SYS_setgroups, Vec::new());
    Ok(rules)
}

/// Matches if argument `index` is an id other than `own`, the mapped one.
fn other_id(index: u8, own: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![
        condition(index, SeccompCmpOp::Ne, own)?,
        condition(index, SeccompCmpOp::Ne, UNCHANGED)?,
    ])
}

/// Match if argument `index` is the mode of a device node.
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
    fn long_ranges_between_ruled_calls_are_found() {
        assert_eq!(
            ranges_without_rules(&[92, 93, 105, 133, 259]),
            [0..92, 134..259, 260..u32::MAX]
        );
    }

    #[test]
    fn calls_with_rules_get_past_the_shortcuts() {
        let numbers = rules(0).unwrap();
        let program = build(0).unwrap();
        // Follows the jumps for a number, from the instruction after its load.
        let is_allowed_at_once = |number: u32| {
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
            assert!(is_allowed_at_once(call.try_into().unwrap()), "{call}");
        }
        for &call in numbers.keys() {
            assert!(!is_allowed_at_once(call.try_into().unwrap()), "{call}");
        }
    }
}
