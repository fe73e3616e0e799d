//! What is told about one thing that was looked at.

/// What a check has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for the user; empty where all is well.
    pub meaning: &'static str,
    /// What can be done about it.
    pub remedy: Option<Remedy>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Containers can do without.
    Limited,
    /// Something does not work.
    Broken,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fine => "ok",
            Verdict::Limited => "limited",
            Verdict::Broken => "no",
        }
    }
}

/// What can be done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Who can.
    pub who: Who,
    /// What.
    pub what: String,
}

/// Who can change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The user.
    You,
    /// The administrator of the host, or who starts the container around this one.
    Administrator,
}

impl Who {
    /// The word for them.
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
