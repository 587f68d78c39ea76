//! Progress of long work: a bar on a terminal, plain lines elsewhere, always on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::common::say;

/// Progress over a known number of inputs.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    unit: &'static str,
    done: usize,
    last_line: Instant,
    /// Nobody reads our results any more.
    reader_gone: bool,
}

/// Without a terminal a line is printed at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar on the terminal, if stderr is one.
pub fn bar(total: u64) -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(total);
        let template = "{spinner} [{elapsed_precise}] {bar:30} {pos}/{len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    })
}

impl Progress {
    /// Starts at 0 of `total`. With `quiet` nothing is ever shown.
    pub fn new(total: usize, quiet: bool) -> Self {
        let bar = if quiet { None } else { bar(total as u64) };
        Self { bar, total, unit: "images", done: 0, last_line: Instant::now(), reader_gone: false }
    }

    /// What the inputs are called, in place of images.
    pub fn of(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Says what is being done right now.
    pub fn stage(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        }
        tracing::debug!("{message}");
    }

    /// One more input is through.
    pub fn step(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.done < self.total && self.last_line.elapsed() >= LINE_EVERY => {
                say(format_args!("{} of {} {}", self.done, self.total, self.unit));
                self.last_line = Instant::now();
            }
            None => {}
        }
    }

    /// Does work that draws on the terminal by itself, such as a download with its own bar.
    pub fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Prints a message without tearing the bar.
    pub fn message(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Prints a result on stdout without tearing the bar. When the reader goes away (`hrseg segment … | head`), the
    /// work goes on: the files are what counts.
    pub fn result(&mut self, text: &str) -> std::io::Result<()> {
        use std::io::{ErrorKind, Write};
        if self.reader_gone {
            return Ok(());
        }
        let print = || writeln!(std::io::stdout().lock(), "{text}");
        let printed = match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
        match printed {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.reader_gone = true;
                Ok(())
            }
            printed => printed,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
