//! The configuration: defaults < system file < user file < repository file < `--config` <
//! environment < command line. Each value remembers where it came from.

pub mod env_vars;
mod keys;
mod layer;
mod settings;

pub use env_vars::Environment;
pub use layer::{ConfigError, Origin};
pub use settings::{Entry, Http, Overrides, Paths, Settings};

/// Whether a text means yes to Python, shells or people.
fn is_true(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "1" | "true" | "yes" | "on" | "t" | "y"
    )
}

/// Whether a text means no to them.
fn is_false(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "0" | "false" | "no" | "off" | "f" | "n" | "never"
    )
}
