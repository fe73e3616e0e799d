//! Lines on stdout and stderr.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::{Winsize, tcgetwinsize};

use super::json::{JsonDocument, write_pretty_json};
use super::plain;

/// How much is printed on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Also warnings.
    Warnings,
    /// Also notes, progress, and headers of listings.
    Normal,
    /// Also the program's steps, and the causes of errors.
    Debug,
}

/// Longest message, in characters: enough for a few paths, but not for a whole untrusted document.
const MESSAGE_MAX_CHARS: usize = 16_000;

/// Writes results to stdout and messages to stderr.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
}

/// Returns how many lines of results fit on the terminal above a question; `None` if no user can
/// answer there.
pub fn page_lines() -> Option<usize> {
    let size = io::stdin().is_terminal().then(terminal_size).flatten()?;
    Some(usize::from(size.ws_row).saturating_sub(2).max(1))
}

/// Returns how many characters fit on a line of results; `None` if stdout is not a terminal.
pub fn line_width() -> Option<usize> {
    Some(usize::from(terminal_size()?.ws_col)).filter(|&width| width > 0)
}

/// Returns the size of the terminal, if stdout is one.
fn terminal_size() -> Option<Winsize> {
    let out = io::stdout();
    out.is_terminal().then(|| tcgetwinsize(out).ok()).flatten()
}

impl Printer {
    /// Makes a printer that prints as much as `verbosity` says.
    pub fn new(verbosity: Verbosity) -> Printer {
        Printer { verbosity }
    }

    /// Whether notes are printed, and headers of listings.
    pub fn shows_notes(&self) -> bool {
        self.verbosity >= Verbosity::Normal
    }

    /// Whether the program's steps are printed, as `--debug` asks for.
    pub fn is_debug(&self) -> bool {
        self.verbosity == Verbosity::Debug
    }

    /// Whether progress bars are shown. They would mix with the lines of `--debug`.
    pub fn shows_bars(&self) -> bool {
        self.verbosity == Verbosity::Normal && io::stderr().is_terminal()
    }

    /// Prints one line of a result.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn out(&self, line: impl Display) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }

    /// Prints the lines of a result: each at once on a terminal, else in large pieces.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn out_all(&self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        let stdout = io::stdout();
        let mut out: Box<dyn Write> = match stdout.is_terminal() {
            true => Box::new(stdout.lock()),
            false => Box::new(BufWriter::new(stdout.lock())),
        };
        for line in lines {
            writeln!(out, "{}", plain(line))?;
        }
        out.flush()
    }

    /// Prints a result as it is, without a newline.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn write_out(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Prints a JSON document.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn json(&self, document: JsonDocument<'_>) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        write_pretty_json(&mut out, &document)?;
        writeln!(out)?;
        out.flush()
    }

    /// Returns stdout as a file, for binary results; `None` if it is a terminal.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn binary_out(&self) -> io::Result<Option<File>> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Ok(None);
        }
        Ok(Some(File::from(stdout.as_fd().try_clone_to_owned()?)))
    }

    /// Prints an error.
    pub fn error(&self, message: impl Display) {
        self.say(Verbosity::Quiet, "Error", message);
    }

    /// Prints advice about an error.
    pub fn hint(&self, message: impl Display) {
        self.say(Verbosity::Quiet, "Hint", message);
    }

    /// Prints a warning: something that the user should know and can change.
    pub fn warning(&self, message: impl Display) {
        self.say(Verbosity::Warnings, "Warning", message);
    }

    /// Prints a note.
    pub fn info(&self, message: impl Display) {
        self.say(Verbosity::Normal, "Info", message);
    }

    /// Prints a step of the program, or the cause of an error, for `--debug`.
    pub fn debug(&self, message: impl Display) {
        self.say(Verbosity::Debug, "Debug", message);
    }

    /// Prints text on stderr as it is, such as the banner of `run`.
    pub fn banner(&self, text: &str) {
        if self.shows_notes() {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    fn say(&self, least: Verbosity, kind: &str, message: impl Display) {
        if self.verbosity >= least {
            let mut message = plain(message);
            if least < Verbosity::Debug
                && let Some((end, _)) = message.char_indices().nth(MESSAGE_MAX_CHARS)
            {
                message.truncate(end);
                message.push('…');
            }
            let line = format!("{kind}: {message}\n");
            // If stderr is closed, the message is lost.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}
