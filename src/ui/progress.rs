//! Progress on stderr: bars on a terminal, lines elsewhere, nothing when quiet.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Printer, plain};
use crate::progress::{Progress, Silent, Task, Unit};

/// Shows progress on stderr.
pub struct TerminalProgress<'a> {
    printer: &'a Printer,
    bars: Option<MultiProgress>,
}

/// How often bars are drawn per second.
const DRAWS_PER_SECOND: u8 = 8;

impl<'a> TerminalProgress<'a> {
    /// Makes a display on stderr that follows the printer's verbosity.
    pub fn new(printer: &'a Printer) -> TerminalProgress<'a> {
        let bars = printer.shows_bars().then(|| {
            MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND))
        });
        TerminalProgress { printer, bars }
    }

    /// Prints a line, without breaking the bars.
    fn beside_bars(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

impl Progress for TerminalProgress<'_> {
    fn begin(&self, label: &str, total: Option<u64>) -> Box<dyn Task> {
        let Some(bars) = &self.bars else {
            if !label.is_empty() {
                self.printer.info(label);
            }
            return Box::new(Silent);
        };
        let template = match total {
            Some(_) => {
                "{msg:32!} [{bar:24}] {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}"
            }
            None => "{msg:32!} {spinner} {bytes:>10} {bytes_per_sec:>12}",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = bars.add(ProgressBar::new(total.unwrap_or_default()).with_style(style));
        bar.set_message(plain(label));
        Box::new(Bar(bar))
    }

    fn watch(&self, label: &str, unit: Unit) -> Box<dyn Task> {
        match &self.bars {
            None => Box::new(Silent),
            Some(bars) => Box::new(DelayedBar {
                bars: bars.clone(),
                label: label.to_string(),
                unit,
                begun: Instant::now(),
                counted: AtomicU64::new(0),
                bar: OnceLock::new(),
            }),
        }
    }

    fn detail(&self, message: &str) {
        self.printer.debug(message);
    }

    fn note(&self, message: &str) {
        self.beside_bars(|| self.printer.info(message));
    }

    fn warning(&self, message: &str) {
        self.beside_bars(|| self.printer.warning(message));
    }
}

/// How long a task runs before its bar appears.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// A bar that appears after a delay. No thread draws it between reports, since only a process with
/// a single thread can enter user namespaces.
struct DelayedBar {
    bars: MultiProgress,
    label: String,
    unit: Unit,
    begun: Instant,
    counted: AtomicU64,
    bar: OnceLock<Bar>,
}

impl DelayedBar {
    fn bar(&self) -> Bar {
        let template = match self.unit {
            Unit::Bytes => "{msg:32!} {spinner} {bytes:>10} {bytes_per_sec:>12}",
            Unit::Files => "{msg:32!} {spinner} {pos:>10} files",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(ProgressBar::no_length().with_style(style));
        bar.set_message(plain(&self.label));
        Bar(bar)
    }
}

impl Task for DelayedBar {
    fn advance(&self, count: u64) {
        let counted = self.counted.fetch_add(count, Ordering::Relaxed) + count;
        if self.bar.get().is_some() || self.begun.elapsed() >= SHOWN_AFTER {
            self.bar.get_or_init(|| self.bar()).reset(counted);
        }
    }

    fn reset(&self, bytes: u64) {
        self.counted.store(bytes, Ordering::Relaxed);
    }
}

struct Bar(ProgressBar);

impl Task for Bar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn reset(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
