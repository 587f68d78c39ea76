//! Signals that ask a training to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// SIGTERM does what Ctrl-C does: the step is finished and saved; a second one ends at once. Other signals stay as they are: `nohup` goes on working.
///
/// # Errors
/// A system that refuses.
#[cfg(unix)]
pub fn watch_termination(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    use std::sync::atomic::Ordering;

    use anyhow::Context as _;
    use signal_hook::consts::SIGTERM;
    use signal_hook::iterator::Signals;

    let stop = Arc::clone(stop);
    let mut signals = Signals::new([SIGTERM]).context("cannot watch for SIGTERM")?;
    let watch = move || {
        for signal in signals.forever() {
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + signal);
            }
            crate::cli::common::say("told to end: finishing the step at hand; a second SIGTERM ends at once");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).context("cannot start a thread")?;
    Ok(())
}

/// There is no such signal here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn watch_termination(_: &Arc<AtomicBool>) -> anyhow::Result<()> {
    Ok(())
}
