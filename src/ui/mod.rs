//! The terminal. Only this module writes to it.
//!
//! Results go to stdout, all other text to stderr: one line each, with udocker's usual prefixes
//! `Error:`, `Warning:`, `Info:` and `Hint:`. Text from images and registries cannot break a line
//! or control the terminal.

mod json;
mod plain;
mod printer;
mod progress;
mod prompt;

pub use json::{JsonDocument, pretty_json};
pub use plain::plain;
pub use printer::{Printer, Verbosity, line_width, page_lines};
pub use progress::TerminalProgress;
pub use prompt::{ask, ask_secret, read_line};
