//! The only writer to the terminal.
//!
//! stdout carries results and nothing else; everything else goes to stderr, one line each, in the
//! words udocker's users know: `Error:`, `Warning:`, `Info:`, `Hint:`. What images and registries
//! put into a line cannot break it or steer the terminal.

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
