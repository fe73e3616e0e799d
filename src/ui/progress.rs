//! Progress on stderr: bars on a terminal, plain lines elsewhere, nothing when quiet.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Printer, plain};
use crate::progress::{Progress, Silent, Task};

/// Shows progress the way the printer allows.
pub struct TerminalProgress<'a> {
    printer: &'a Printer,
    bars: Option<MultiProgress>,
}

/// How often bars are drawn, per second.
const DRAWS_PER_SECOND: u8 = 8;

impl<'a> TerminalProgress<'a> {
    /// Shows progress on stderr by `printer`.
    pub fn new(printer: &'a Printer) -> TerminalProgress<'a> {
        let bars = printer.shows_bars().then(|| {
            MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND))
        });
        TerminalProgress { printer, bars }
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

    fn note(&self, message: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| self.printer.info(message)),
            None => self.printer.info(message),
        }
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
