//! Changes to the arguments before clap parses them: an end to the options of `run`, and `help
//! --help`.
//!
//! The options of `run` end at its first positional argument: what follows belongs to the
//! container's command, even if it looks like an option of `udocker run`. clap would parse it as
//! such, so a `--` is inserted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

const END_OF_OPTIONS: &str = "--";

/// Inserts `--` after the container or image of `udocker run`. Empty words before it are removed,
/// as udocker.py does: scripts write `"$options"` even if there are none. `args` begins with the
/// program.
pub(super) fn end_options_of_run(mut args: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let general: Vec<&Arg> = program.get_arguments().collect();
    let Some(command_at) = first_positional(&args, 1, &general) else {
        return args;
    };
    if args[command_at] != "run" {
        return args;
    }
    let run = program.find_subcommand("run");
    let of_run = run.into_iter().flat_map(Command::get_arguments);
    let known: Vec<&Arg> = of_run.chain(general).collect();
    while let Some(word_at) = first_positional(&args, command_at + 1, &known) {
        if !args[word_at].is_empty() {
            args.insert(word_at + 1, END_OF_OPTIONS.into());
            break;
        }
        args.remove(word_at);
    }
    args
}

/// Changes `help --help` to `help`; clap would show the help for `--help`.
pub(super) fn without_help_on_help(mut args: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let general: Vec<&Arg> = program.get_arguments().collect();
    if let Some(command_at) = first_positional(&args, 1, &general)
        && args[command_at] == "help"
    {
        args.retain(|arg| arg != "--help" && arg != "-h");
    }
    args
}

/// Returns the index of the first argument from `start` that is neither one of the `known` options
/// nor the value of one; `None` if there is none or `--` comes first.
fn first_positional(args: &[OsString], start: usize, known: &[&Arg]) -> Option<usize> {
    let mut index = start;
    while let Some(arg) = args.get(index) {
        if arg == END_OF_OPTIONS {
            return None;
        }
        if !arg.as_bytes().starts_with(b"-") || arg == "-" {
            return Some(index);
        }
        index += if takes_next(arg, known) { 2 } else { 1 };
    }
    None
}

/// Whether the value of this option is the next argument.
fn takes_next(arg: &OsStr, known: &[&Arg]) -> bool {
    let bytes = arg.as_bytes();
    if let Some(long) = bytes.strip_prefix(b"--") {
        return option(known, |option| is_long(option, long)).is_some_and(takes_value);
    }
    // In a cluster such as -itv, only the last letter's value can be the next argument.
    for (position, letter) in bytes.iter().enumerate().skip(1) {
        match option(known, |option| {
            option.get_short() == Some(char::from(*letter))
        }) {
            Some(option) if takes_value(option) => return position + 1 == bytes.len(),
            Some(_) => {}
            None => return false,
        }
    }
    false
}

fn option<'a>(known: &[&'a Arg], is_meant: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
    known.iter().copied().find(|arg| is_meant(arg))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn is_long(arg: &Arg, name: &[u8]) -> bool {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    arg.get_long()
        .into_iter()
        .chain(aliases)
        .any(|known| known.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_end_at_the_container() {
        let program = crate::cli::Cli::command();
        for (given, expected) in [
            ("run c", "run c --"),
            ("run c -e X", "run c -- -e X"),
            ("run --rm -e A=B c --rm", "run --rm -e A=B c -- --rm"),
            ("run -v=/a:/b c ls -l", "run -v=/a:/b c -- ls -l"),
            ("run -v/a:/b c ls", "run -v/a:/b c -- ls"),
            ("run -itv /a c", "run -itv /a c --"),
            ("run --env-file=f c", "run --env-file=f c --"),
            ("run -q --repo /r c x", "run -q --repo /r c -- x"),
            ("--repo /r -q run c x", "--repo /r -q run c -- x"),
            ("run --netcoop c x", "run --netcoop c -- x"),
            ("run -it --init c x", "run -it --init c -- x"),
            ("run --gpus all -m 1g c x", "run --gpus all -m 1g c -- x"),
            ("run -- c x", "run -- c x"),
            ("run", "run"),
            ("run --rm", "run --rm"),
            ("pull run", "pull run"),
            ("--repo run ps", "--repo run ps"),
            // The double spaces stand for empty words.
            ("run  c x", "run c -- x"),
            ("run  --rm   c  x", "run --rm c --  x"),
            ("run --name  c x", "run --name  c -- x"),
            ("run  -- c x", "run -- c x"),
            ("run  --rm ", "run --rm"),
        ] {
            let words = |text: &str| -> Vec<OsString> {
                std::iter::once("udocker")
                    .chain(text.split(' '))
                    .map(OsString::from)
                    .collect()
            };
            assert_eq!(
                end_options_of_run(words(given), &program),
                words(expected),
                "{given}"
            );
        }
    }
}
