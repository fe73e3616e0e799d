//! Lines on stdout and stderr.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::{Winsize, tcgetwinsize};

use super::json::{JsonDocument, write_pretty_json};
use super::plain;

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Notes, warnings and progress too.
    Normal,
    /// What happens inside as well.
    Debug,
}

/// Longest message, in characters: a few paths, but not a document that a stranger made.
const MESSAGE_MAX_CHARS: usize = 16_000;

/// Writes results to stdout and messages to stderr.
#[derive(Clone, Debug)]
pub struct Printer {
    verbosity: Verbosity,
}

/// How many lines of results fit on the terminal with a question below; `None` where nobody
/// reads and answers there.
pub fn page_lines() -> Option<usize> {
    let size = io::stdin().is_terminal().then(terminal_size).flatten()?;
    Some(usize::from(size.ws_row).saturating_sub(2).max(1))
}

/// How many characters fit on a line of results; `None` where they go to no terminal.
pub fn line_width() -> Option<usize> {
    Some(usize::from(terminal_size()?.ws_col)).filter(|&width| width > 0)
}

/// The size of the terminal that results go to, if they do.
fn terminal_size() -> Option<Winsize> {
    let out = io::stdout();
    out.is_terminal().then(|| tcgetwinsize(out).ok()).flatten()
}

impl Printer {
    /// A printer that says as much as `verbosity`.
    pub fn new(verbosity: Verbosity) -> Printer {
        Printer { verbosity }
    }

    /// How much is said.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether anything but errors is said.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Whether details are shown, as `--debug` asks for.
    pub fn is_debug(&self) -> bool {
        self.verbosity == Verbosity::Debug
    }

    /// Whether moving progress bars make sense. Details between them would tear them apart.
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

    /// Prints the lines of a result: one by one for somebody who watches, else many at once.
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

    /// Prints a result as it is.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn write_out(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Prints a document, as it is read.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub fn json(&self, document: JsonDocument<'_>) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        write_pretty_json(&mut out, &document)?;
        writeln!(out)?;
        out.flush()
    }

    /// stdout as a file, for results that are no text. None if it is a terminal.
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

    /// Says what failed.
    pub fn error(&self, message: impl Display) {
        self.say(Verbosity::Quiet, "Error", message);
    }

    /// Says what the user can do about an error.
    pub fn hint(&self, message: impl Display) {
        self.say(Verbosity::Quiet, "Hint", message);
    }

    /// Says what the user should know and can change.
    pub fn warning(&self, message: impl Display) {
        self.say(Verbosity::Normal, "Warning", message);
    }

    /// Says what happens.
    pub fn info(&self, message: impl Display) {
        self.say(Verbosity::Normal, "Info", message);
    }

    /// Says what happens inside.
    pub fn debug(&self, message: impl Display) {
        self.say(Verbosity::Debug, "Debug", message);
    }

    /// Prints text on stderr as it is, such as the banner of `run`.
    pub fn banner(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
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
            // Nobody is left to be told that stderr is closed.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}
