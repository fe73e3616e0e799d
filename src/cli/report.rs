//! Errors of command-line syntax.

use std::io;

use clap::error::ErrorKind;

use crate::commands::CommandError;
use crate::ui::{Printer, Verbosity};

/// The exit status of requested help.
const DONE: u8 = 0;

/// Prints the help, or a syntax error in one line, and returns the exit status.
pub(super) fn parse_error(error: &clap::Error) -> u8 {
    let printer = Printer::new(Verbosity::Normal);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match printer.write_out(&error.to_string()) {
                // A closed pipe is no error.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    report(&CommandError::from(error), &printer)
                }
                _ => DONE,
            }
        }
        _ => report(&usage_error(&error.to_string()), &printer),
    }
}

fn report(error: &CommandError, printer: &Printer) -> u8 {
    error.report(printer);
    error.status()
}

/// Turns clap's paragraph into one line, and its advice into a hint.
fn usage_error(text: &str) -> CommandError {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    let message: Vec<&str> = paragraph.split_whitespace().collect();
    let error = CommandError::usage(message.join(" "));
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "))
        // A mistyped option is rarely meant as a value.
        .filter(|tip| !tip.starts_with("to pass "));
    let usage = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Usage: "));
    match (tip, usage) {
        (Some(tip), _) => error.with_hint(tip),
        (None, Some(usage)) => error.with_hint(format!("usage: {usage}")),
        (None, None) => error.with_hint("see `udocker help`"),
    }
}
