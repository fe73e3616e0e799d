//! Options for a process namespace and a host name of the container's own.

use std::fmt;
use std::str::FromStr;

/// The processes that the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processes {
    /// Those of the host.
    #[default]
    Hosts,
    /// `--init`: those of the host or its own, with an init process that reaps orphans and passes
    /// signals on.
    Reaped,
    /// `--pid=private`: only its own.
    Own,
}

/// The value of `--hostname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// An invalid host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid host name '{0}': expected up to 63 letters, digits, dots and hyphens")]
pub struct HostNameError(String);

impl HostName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<HostName, HostNameError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..64).contains(&text.len())
            && text.bytes().all(is_allowed)
            && !text.starts_with(['-', '.']);
        if is_name {
            Ok(HostName(text.to_string()))
        } else {
            Err(HostNameError(text.to_string()))
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_host_names_are_refused() {
        for (name, is_fine) in [
            ("box", true),
            ("node-1.cluster_a", true),
            ("", false),
            ("-x", false),
            ("a b", false),
            (&"x".repeat(63), true),
            (&"x".repeat(64), false),
        ] {
            assert_eq!(name.parse::<HostName>().is_ok(), is_fine, "{name}");
        }
    }
}
