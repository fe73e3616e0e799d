//! The result of one check of `udocker doctor`.

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Whether it is all right.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for the user; empty if nothing is wrong.
    pub meaning: &'static str,
    /// What can be done about it.
    pub remedy: Option<Remedy>,
}

/// Whether what a check has found is all right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Fine,
    /// Containers run, with limits.
    Limited,
    /// Something does not work.
    Broken,
}

impl Verdict {
    /// Returns the word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fine => "ok",
            Verdict::Limited => "limited",
            Verdict::Broken => "no",
        }
    }
}

/// What can be done about a finding, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Who can do it.
    pub who: Who,
    /// What to do.
    pub what: String,
}

/// Who can act on a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The user.
    You,
    /// The administrator of the host, or whoever starts the container that udocker runs in.
    Administrator,
}

impl Who {
    /// Returns the words that are shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Who::You => "you",
            Who::Administrator => "an administrator",
        }
    }
}

impl Finding {
    pub(super) fn fine(check: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            check,
            verdict: Verdict::Fine,
            found: found.into(),
            meaning: "",
            remedy: None,
        }
    }

    pub(super) fn limited(
        check: &'static str,
        found: impl Into<String>,
        meaning: &'static str,
    ) -> Finding {
        Finding {
            verdict: Verdict::Limited,
            meaning,
            ..Finding::fine(check, found)
        }
    }

    pub(super) fn broken(
        check: &'static str,
        found: impl Into<String>,
        meaning: &'static str,
    ) -> Finding {
        Finding {
            verdict: Verdict::Broken,
            ..Finding::limited(check, found, meaning)
        }
    }

    pub(super) fn you_can(self, what: impl Into<String>) -> Finding {
        self.can(Who::You, what)
    }

    pub(super) fn administrator_can(self, what: impl Into<String>) -> Finding {
        self.can(Who::Administrator, what)
    }

    fn can(mut self, who: Who, what: impl Into<String>) -> Finding {
        self.remedy = Some(Remedy {
            who,
            what: what.into(),
        });
        self
    }
}
