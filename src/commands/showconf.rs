//! `udocker showconf`

use super::{Context, DONE, Outcome};
use crate::registry::without_login;

/// Show the configuration, and where each value comes from
///
/// Prints one `key = value` per line, followed by the file, variable or option that set it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker showconf
  udocker showconf | grep -v default")]
pub struct Args {}

pub(super) fn run(_args: &Args, context: &Context) -> Outcome {
    for entry in context.settings.entries() {
        let note = if entry.has_effect {
            ""
        } else {
            "; for udocker.py only"
        };
        // A value of several lines is shown on one.
        let mut value = entry.value.replace('\n', " ");
        if entry.key == "http_proxy" || value.contains("://") {
            value = without_login(&value);
        }
        context.printer.out(format_args!(
            "{} = {value}  # {}{note}",
            entry.key, entry.origin
        ))?;
    }
    Ok(DONE)
}
