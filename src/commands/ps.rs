//! `udocker ps`

use super::{Context, DONE, Outcome};
use crate::progress::{Progress, Unit};
use crate::store::{Container, RootState};

/// List the containers in the local repository
///
/// The column P is `P` for a protected container; M is `W` where its root can be written, `R`
/// where it cannot, `N` where it is missing and `D` where it is no directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker ps -m -s
  udocker ps | grep \"'work'\"")]
pub struct Args {
    /// Show the execution mode
    #[arg(short = 'm')]
    mode: bool,
    /// Show the size in MB
    #[arg(short = 's')]
    size: bool,
    /// Show the platform
    #[arg(short = 'p')]
    platform: bool,
}

/// Lists containers.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let containers = context.store.containers();
    let rows = containers.iter().map(|one| row(args, context, one));
    context
        .printer
        .out_all(std::iter::once(header(args)).chain(rows))?;
    Ok(DONE)
}

fn header(args: &Args) -> String {
    let mut line = format!("{:<36} P M ", "CONTAINER ID");
    if args.mode {
        line.push_str("MOD ");
    }
    if args.size {
        line.push_str("SIZE ");
    }
    if args.platform {
        line.push_str("PLATFORM           ");
    }
    line.push_str(&format!("{:<18} {:<20}", "NAMES", "IMAGE"));
    line
}

fn row(args: &Args, context: &Context, container: &Container) -> String {
    let protected = if container.is_protected() { 'P' } else { '.' };
    let state = match container.root_state() {
        RootState::Writable => 'W',
        RootState::ReadOnly => 'R',
        RootState::Missing => 'N',
        RootState::NotDirectory => 'D',
    };
    let mut line = format!("{:<36.36} {protected} {state} ", container.id.as_str());
    if args.mode {
        let mode = super::run::mode::mode_of(container, context);
        line.push_str(&format!("{mode:>2} "));
    }
    if args.size {
        let size = size_in_mb(container, context).map_or("-1".to_string(), |size| size.to_string());
        line.push_str(&format!("{size:>5.5} "));
    }
    if args.platform {
        let platform = container.config().map_or_else(
            |_| "unknown/unknown".to_string(),
            |config| config.platform_text(),
        );
        line.push_str(&format!("{platform:<18.18} "));
    }
    let names = names_literal(&container.names);
    line.push_str(&format!("{names:<18.100} {:<20.100}", container.image()));
    line
}

fn size_in_mb(container: &Container, context: &Context) -> Option<u64> {
    let task = context.progress().watch("measuring", Unit::Files);
    let bytes = crate::rootfs::tree_size(&container.root(), &*task).ok()?;
    Some(bytes.div_ceil(1 << 20))
}

/// The names as a Python list, since scripts search for `'NAME'` with the quotes.
fn names_literal(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names
        .iter()
        .map(|name| {
            let quote = if name.contains('\'') && !name.contains('"') {
                '"'
            } else {
                '\''
            };
            let escaped = name.replace('\\', "\\\\");
            let escaped = match quote {
                '\'' => escaped.replace('\'', "\\'"),
                _ => escaped,
            };
            format!("{quote}{escaped}{quote}")
        })
        .collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printed_as_a_python_list() {
        for (names, expected) in [
            (&[][..], ""),
            (&["a"], "['a']"),
            (&["a", "b c"], "['a', 'b c']"),
            (&["it's"], "[\"it's\"]"),
            (&["a'\"b"], "['a\\'\"b']"),
            (&["a\\b"], "['a\\\\b']"),
        ] {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            assert_eq!(names_literal(&names), expected);
        }
    }

    #[test]
    fn header_equals_that_of_udocker_py() {
        let args = |mode, size, platform| Args {
            mode,
            size,
            platform,
        };
        assert_eq!(
            header(&args(false, false, false)),
            "CONTAINER ID                         P M NAMES              IMAGE               "
        );
        assert_eq!(
            header(&args(true, true, true)),
            "CONTAINER ID                         P M MOD SIZE PLATFORM           NAMES              IMAGE               "
        );
    }
}
