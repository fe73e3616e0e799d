//! Progress reports.
//!
//! The workflows report through [`Progress`]; the caller decides who shows it. [`Silent`] shows
//! nothing.

use std::io::{self, Read, Write};

/// Receives reports about several tasks at once.
pub trait Progress: Sync {
    /// Begins a task. `total` is in bytes, if it is known.
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Task>;

    /// Begins a task that is shown only on a terminal, and only if it takes long. Its total is
    /// unknown.
    fn watch(&self, label: &str, unit: Unit) -> Box<dyn Task>;

    /// Reports a result or another notable fact, in one line.
    fn note(&self, message: &str);

    /// Reports something that the user may want to change, in one line.
    fn warning(&self, message: &str) {
        self.note(message);
    }

    /// Reports a detail for `--debug`, in one line.
    fn detail(&self, _message: &str) {}
}

/// The unit of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files, including directories.
    Files,
}

/// One task; dropping it ends it.
pub trait Task: Send + Sync {
    /// Adds to the count.
    fn advance(&self, count: u64);

    /// Sets the count to `bytes`, after a download was resumed or restarted.
    fn reset(&self, bytes: u64);
}

/// Counts the bytes that are read or written through it.
pub struct Counted<'t, T> {
    stream: T,
    task: &'t dyn Task,
}

impl<'t, T> Counted<'t, T> {
    /// Wraps `stream`.
    pub fn new(stream: T, task: &'t dyn Task) -> Counted<'t, T> {
        Counted { stream, task }
    }

    /// Returns the wrapped stream.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buffer)?;
        self.task.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.task.advance(count as u64);
        Ok(count)
    }
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _label: &str, _total: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn watch(&self, _label: &str, _unit: Unit) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, _message: &str) {}
}

impl Task for Silent {
    fn advance(&self, _count: u64) {}

    fn reset(&self, _bytes: u64) {}
}
