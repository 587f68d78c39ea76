//! Telling the user what is being fetched: a bar on a terminal, plain lines elsewhere, always on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Hears what a fetch does. All methods may be called from any thread.
pub trait Reporter: Send + Sync + fmt::Debug {
    /// One line worth reading (the source in use, the licence).
    fn note(&self, text: &str);
    /// A transfer begins, of `total` bytes if known, of which `already` are there.
    fn start(&self, label: &str, total: Option<u64>, already: u64);
    /// More bytes have come.
    fn advance(&self, bytes: u64);
    /// The transfer is over, in success or not.
    fn finish(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn note(&self, _: &str) {}
    fn start(&self, _: &str, _: Option<u64>, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Writes to stderr.
#[derive(Debug, Default)]
pub struct Console {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    /// Without a terminal: bytes now, in total, and the next tenth to print.
    plain: Option<(u64, u64, u64)>,
}

impl Console {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes as people read them: "38.8 MiB".
pub(crate) fn human(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

impl Reporter for Console {
    fn note(&self, text: &str) {
        match &self.lock().bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn start(&self, label: &str, total: Option<u64>, already: u64) {
        let mut state = self.lock();
        if !std::io::stderr().is_terminal() {
            match total {
                Some(total) if already > 0 => eprintln!("{label}: {}, going on at {}", human(total), human(already)),
                Some(total) => eprintln!("{label}: {}", human(total)),
                None => eprintln!("{label}"),
            }
            state.plain = total.filter(|&t| t > 0).map(|t| (already, t, already * 10 / t + 1));
            return;
        }
        let template = match total {
            Some(_) => "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes} {elapsed}",
        };
        let bar = ProgressBar::new(total.unwrap_or(0));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        bar.set_position(already);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(150));
        state.bar = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        let mut state = self.lock();
        if let Some(bar) = &state.bar {
            bar.inc(bytes);
        }
        if let Some((now, total, next)) = &mut state.plain {
            *now += bytes;
            let tenth = *now * 10 / *total;
            if tenth >= *next && tenth < 10 {
                eprintln!("  {}0% of {}", tenth, human(*total));
                *next = tenth + 1;
            }
        }
    }

    fn finish(&self) {
        let mut state = self.lock();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        state.plain = None;
    }
}
