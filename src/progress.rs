//! How long work tells what it is doing.
//!
//! The core reports through [`Progress`]; who shows it, and whether at all, is the caller's
//! business. [`Silent`] shows nothing.

use std::io::{self, Read, Write};

/// Receives reports on several pieces of work at once.
pub trait Progress: Sync {
    /// Begins a piece of work. `total` is in bytes, where it is known.
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Task>;

    /// Begins work that is not worth a line of its own, to be shown only where somebody watches, and
    /// once it takes its time. Nobody knows beforehand how much it is.
    fn watch(&self, label: &str, unit: Unit) -> Box<dyn Task>;

    /// Tells of something finished or noteworthy, in one line.
    fn note(&self, message: &str);

    /// Tells of a detail, in one line, for a user who has asked for details.
    fn detail(&self, _message: &str) {}
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files, directories included.
    Files,
}

/// One piece of work; dropping it ends it.
pub trait Task: Send + Sync {
    /// Counts so many more: bytes, where nothing else was said.
    fn advance(&self, count: u64);

    /// Starts the count again at `bytes`, after a resumed or repeated download.
    fn reset(&self, bytes: u64);
}

/// Tells a task what is read or written through it.
pub struct Counted<'t, T> {
    stream: T,
    task: &'t dyn Task,
}

impl<'t, T> Counted<'t, T> {
    /// Wraps `stream`.
    pub fn new(stream: T, task: &'t dyn Task) -> Counted<'t, T> {
        Counted { stream, task }
    }

    /// What was wrapped.
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
