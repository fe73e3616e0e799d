//! The execution modes of `udocker setup --execmode`.

use std::fmt;
use std::str::FromStr;

/// How a container is run. The names are those of udocker.py, and of `containers/<id>/execmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExecMode {
    /// PRoot with seccomp acceleration.
    #[default]
    P1,
    /// PRoot without seccomp acceleration.
    P2,
    /// User namespaces.
    R1,
    /// User namespaces with PRoot P1 inside.
    R2,
    /// User namespaces with PRoot P2 inside.
    R3,
    /// Fakechroot.
    F1,
    /// Fakechroot with a changed loader.
    F2,
    /// Fakechroot with changed executables.
    F3,
    /// Fakechroot with changed executables and on-the-fly changes.
    F4,
    /// Singularity or Apptainer.
    S1,
}

impl ExecMode {
    const ALL: [(ExecMode, &str); 10] = [
        (ExecMode::P1, "P1"),
        (ExecMode::P2, "P2"),
        (ExecMode::R1, "R1"),
        (ExecMode::R2, "R2"),
        (ExecMode::R3, "R3"),
        (ExecMode::F1, "F1"),
        (ExecMode::F2, "F2"),
        (ExecMode::F3, "F3"),
        (ExecMode::F4, "F4"),
        (ExecMode::S1, "S1"),
    ];

    /// Whether udocker.py changes the container's files for this mode.
    pub fn changes_the_tree(self) -> bool {
        matches!(
            self,
            ExecMode::F1 | ExecMode::F2 | ExecMode::F3 | ExecMode::F4
        )
    }
}

/// The mode that a setting or a container asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChoice {
    /// The fastest mode that works on this host: R1 or P1.
    Auto,
    /// A given mode.
    Mode(ExecMode),
}

impl FromStr for ModeChoice {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<ModeChoice, UnknownMode> {
        if text.trim() == "auto" {
            return Ok(ModeChoice::Auto);
        }
        text.parse().map(ModeChoice::Mode)
    }
}

impl fmt::Display for ModeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModeChoice::Auto => f.write_str("auto"),
            ModeChoice::Mode(mode) => mode.fmt(f),
        }
    }
}

/// A text that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an execution mode (P1 P2 R1 R2 R3 F1 F2 F3 F4 S1, or auto)")]
pub struct UnknownMode(pub String);

impl FromStr for ExecMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<ExecMode, UnknownMode> {
        ExecMode::ALL
            .iter()
            .find(|(_, name)| *name == text.trim())
            .map(|(mode, _)| *mode)
            .ok_or_else(|| UnknownMode(text.to_string()))
    }
}

impl fmt::Display for ExecMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ExecMode::ALL.iter().find(|(mode, _)| mode == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_back() {
        for (mode, name) in ExecMode::ALL {
            assert_eq!(mode.to_string(), name);
            assert_eq!(name.parse(), Ok(mode));
            assert_eq!(ModeChoice::Mode(mode).to_string(), name);
        }
        assert_eq!("P2\n".parse(), Ok(ExecMode::P2));
        assert_eq!("auto\n".parse(), Ok(ModeChoice::Auto));
        assert_eq!(ModeChoice::Auto.to_string(), "auto");
        assert_eq!("R1".parse(), Ok(ModeChoice::Mode(ExecMode::R1)));
        for name in ["", "p1", "P3", "P1 P2", "auto"] {
            assert!(name.parse::<ExecMode>().is_err(), "{name}");
        }
    }
}
