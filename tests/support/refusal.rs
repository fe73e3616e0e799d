//! System call filters that simulate security policies and old kernels.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// A filter that makes these calls fail with `errno`.
pub struct Refusal(BpfProgram);

impl Refusal {
    pub fn of(calls: &[i64], errno: i32) -> Refusal {
        let filter = SeccompFilter::new(
            calls
                .iter()
                .map(|call| (*call, Vec::new()))
                .collect::<BTreeMap<_, _>>(),
            SeccompAction::Allow,
            SeccompAction::Errno(errno.cast_unsigned()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        Refusal(filter.unwrap().try_into().unwrap())
    }

    /// Installs the filter for this process and its children. Allocates nothing.
    pub fn install(&self) -> io::Result<()> {
        apply_filter(&self.0).map_err(|_| io::ErrorKind::Unsupported.into())
    }
}
