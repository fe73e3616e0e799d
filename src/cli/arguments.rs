//! Changes to the arguments before clap parses them.
//!
//! The options of `run` end at its first positional argument: what follows belongs to the
//! container's command, even if it looks like an option of `udocker run`. clap would parse it as
//! such, so a `--` is inserted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

const END_OF_OPTIONS: &str = "--";

/// Removes empty words that are no values of options, as udocker.py does, since scripts write
/// `"$options"` even if there are none. Inserts `--` after the container or image of `udocker run`;
/// words before it are also removed if they are the value of Docker's `-a`, which is a flag here.
/// A last `-h` there asks for the help, since it is no host name. `args` begins with the program.
pub(super) fn prepared(mut args: Vec<OsString>, program: &Command) -> Vec<OsString> {
    let mut command = program;
    let mut known: Vec<&Arg> = program.get_arguments().collect();
    let mut start = 1;
    while let Some(at) = first_positional(&args, start, &known) {
        start = at;
        let is_run = command.get_name() == "run";
        if args[at].is_empty() || is_run && is_stream(&args[at - 1], &args[at]) {
            args.remove(at);
            continue;
        }
        start += 1;
        if is_run {
            args.insert(start, END_OF_OPTIONS.into());
            return args;
        }
        if let Some(subcommand) = command.find_subcommand(&args[at]) {
            command = subcommand;
            known = subcommand.get_arguments().chain(known).collect();
        }
    }
    let is_ended = args.iter().any(|arg| arg == END_OF_OPTIONS);
    if command.get_name() == "run"
        && !is_ended
        && let Some(last) = args.last_mut().filter(|last| *last == "-h")
    {
        *last = "--help".into();
    }
    args
}

/// Whether `word` is the value of `option`, which is Docker's `-a` or `--attach`.
fn is_stream(option: &OsStr, word: &OsStr) -> bool {
    let streams = ["stdin", "stdout", "stderr"];
    matches!(
        option.as_bytes(),
        b"-a" | b"-ia" | b"-ta" | b"-ita" | b"-tia" | b"--attach"
    ) && streams
        .iter()
        .any(|stream| word.eq_ignore_ascii_case(stream))
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
        let takes_next = option_for_next(arg, known).is_some_and(|option| {
            let is_option = |next: &OsString| next.as_bytes().starts_with(b"-");
            !has_optional_value(option) || !args.get(index + 1).is_some_and(is_option)
        });
        index += if takes_next { 2 } else { 1 };
    }
    None
}

/// Returns the option whose value is the next argument, if `arg` ends with such a one.
fn option_for_next<'a>(arg: &OsStr, known: &[&'a Arg]) -> Option<&'a Arg> {
    let bytes = arg.as_bytes();
    if let Some(long) = bytes.strip_prefix(b"--") {
        return option(known, |option| is_long(option, long)).filter(|option| takes_value(option));
    }
    // In a cluster such as -itv, only the last letter's value can be the next argument.
    for (position, letter) in bytes.iter().enumerate().skip(1) {
        let option = option(known, |option| {
            option.get_short() == Some(char::from(*letter))
        })?;
        if takes_value(option) {
            return (position + 1 == bytes.len()).then_some(option);
        }
    }
    None
}

fn option<'a>(known: &[&'a Arg], is_meant: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
    known.iter().copied().find(|arg| is_meant(arg))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn has_optional_value(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|count| count.min_values() == 0)
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
    fn options_end_at_the_container_and_empty_words_are_dropped() {
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
            ("run -a c x", "run -a c -- x"),
            ("run -a stdout c stdout", "run -a c -- stdout"),
            ("run -a stdin -ia STDERR c x", "run -a -ia c -- x"),
            ("run --attach stdout c x", "run --attach c -- x"),
            ("run -e a stdout x", "run -e a stdout -- x"),
            ("run -h box c -h", "run -h box c -- -h"),
            ("run --rm -h", "run --rm --help"),
            ("run c -h", "run c -- -h"),
            ("run --pull --rm c x", "run --pull --rm c -- x"),
            ("run --pull -v /a c x", "run --pull -v /a c -- x"),
            ("run --pull never c x", "run --pull never c -- x"),
            ("run  --rm ", "run --rm"),
            ("run -- c -h", "run -- c -h"),
            (" -q  ps ", "-q ps"),
            (" run  c  x", "run c --  x"),
            ("--repo  ps", "--repo  ps"),
            ("rm  -f  c ", "rm -f c"),
            (
                "create  --name  --name=zz busybox ",
                "create --name  --name=zz busybox",
            ),
            (
                "manifest  inspect  --platform  image",
                "manifest inspect --platform  image",
            ),
            ("search run  -a ", "search run -a"),
        ] {
            let words = |text: &str| -> Vec<OsString> {
                std::iter::once("udocker")
                    .chain(text.split(' '))
                    .map(OsString::from)
                    .collect()
            };
            assert_eq!(prepared(words(given), &program), words(expected), "{given}");
        }
    }
}
