//! How long work tells what it is doing.
//!
//! The core reports through [`Progress`]; who shows it, and whether at all, is the caller's
//! business. [`Silent`] shows nothing.

use std::io::{self, Read};

/// Receives reports on several pieces of work at once.
pub trait Progress: Sync {
    /// Begins a piece of work. `total` is in bytes, where it is known.
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Task>;

    /// Tells of something finished or noteworthy, in one line.
    fn note(&self, message: &str);
}

/// One piece of work; dropping it ends it.
pub trait Task: Send + Sync {
    /// Counts `bytes` more.
    fn advance(&self, bytes: u64);

    /// Starts the count again at `bytes`, after a resumed or repeated download.
    fn reset(&self, bytes: u64);
}

/// Tells a task what is read through it.
pub struct Counted<'t, R> {
    source: R,
    task: &'t dyn Task,
}

impl<'t, R> Counted<'t, R> {
    /// Wraps `source`.
    pub fn new(source: R, task: &'t dyn Task) -> Counted<'t, R> {
        Counted { source, task }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
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

    fn note(&self, _message: &str) {}
}

impl Task for Silent {
    fn advance(&self, _bytes: u64) {}

    fn reset(&self, _bytes: u64) {}
}
