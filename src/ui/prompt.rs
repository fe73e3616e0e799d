//! Questions to the user, asked on stderr and answered on stdin.

use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Longest answer, in bytes.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Asks for a line of text.
///
/// # Errors
/// stdin ends or cannot be read.
pub fn ask(question: &str) -> io::Result<String> {
    show(question);
    read_line()
}

/// Asks for a line without echo. If stdin is not a terminal, the line is read as it is.
///
/// # Errors
/// stdin ends or cannot be read, or the user interrupts.
pub fn ask_secret(question: &str) -> io::Result<String> {
    show(question);
    if !io::stdin().is_terminal() {
        return read_line();
    }
    let quiet = rpassword::ConfigBuilder::new().output_discard().build();
    let answer = rpassword::read_password_with_config(quiet);
    // The newline that the user typed was not echoed.
    show("\n");
    answer
}

/// Reads one line from stdin, without the newline.
///
/// # Errors
/// stdin ends, cannot be read, or is not UTF-8.
pub fn read_line() -> io::Result<String> {
    let mut line = String::new();
    let count = io::stdin()
        .lock()
        .take(ANSWER_MAX_BYTES)
        .read_line(&mut line)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}

fn show(text: &str) {
    let mut stderr = io::stderr().lock();
    // If stderr is closed, the question can still be answered.
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
