//! Whether the memory that there is suffices for a run, told before it begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use seg_train::TrainError;
use seg_train::recipe::{DataPart, Recipe};
use seg_train::run::Run;

use crate::cli::UsageError;
use crate::cli::common::say;
use crate::cli::memory::{forget_peak, free_bytes, own_bytes, peak_rss_bytes, rss_bytes};

/// How often the guard looks.
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// What is left to others, of what is free.
const LEFT: f64 = 0.02;
/// Most examples that a measurement takes.
const MEASURED: u64 = 8;
const GIB: f64 = (1u64 << 30) as f64;

/// Ends the process with a line that says why, before the system ends it without one, where it takes more memory than it may. Until it is dropped.
pub struct Guard {
    /// Bytes; `None`: the system does not say.
    most: Option<u64>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    peak: AtomicU64,
    proving: AtomicBool,
    over: AtomicBool,
}

impl Guard {
    /// For at most `given` GiB, or what is free now.
    ///
    /// # Errors
    /// No amount of memory.
    pub fn new(given: Option<f64>) -> Result<Self, UsageError> {
        let most = match given {
            Some(gib) if gib.is_finite() && gib > 0. => Some((gib * GIB) as u64),
            Some(gib) => return Err(UsageError(format!("--memory is {gib}, expected GiB above 0"))),
            None => free_bytes().zip(own_bytes()).map(|(free, own)| (free as f64 * (1. - LEFT)) as u64 + own),
        };
        let seen = Arc::new(Seen::default());
        if let Some(most) = most {
            let seen = seen.clone();
            std::thread::spawn(move || {
                while !seen.over.load(Ordering::Relaxed) {
                    let own = own_bytes().unwrap_or(0);
                    seen.peak.fetch_max(own, Ordering::Relaxed);
                    if own > most {
                        let (what, less) = match seen.proving.load(Ordering::Relaxed) {
                            false => ("the model alone", "a smaller trunk or encoder takes less"),
                            true => ("a batch", LESS),
                        };
                        say(format_args!(
                            "error: {what} takes more memory than there is, {}: nothing was begun; {less}",
                            gib(most)
                        ));
                        std::process::exit(1);
                    }
                    std::thread::sleep(LOOKS_EVERY);
                }
            });
        }
        Ok(Self { most, seen })
    }

    /// Refuses a batch that will not fit, by what a single example takes.
    ///
    /// # Errors
    /// Then, with what would fit.
    pub fn check(&self, run: &Run) -> anyhow::Result<()> {
        self.seen.proving.store(true, Ordering::Relaxed);
        let data = run.recipe.data;
        let batch = run.data.len().map_or(data.batch, |len| data.batch.min(len as usize));
        let (Some(most), true) = (self.most, batch > 2 && run.group.ranks() == 1) else { return Ok(()) };
        let moving: usize =
            run.learner.weights().grouped().iter().flat_map(|(_, vars)| vars).map(|(_, var)| var.elem_count()).sum();
        let moving = 4 * moving as u64;
        let Some(before) = own_bytes() else { return Ok(()) };
        let measured = |count: usize| {
            self.seen.peak.store(0, Ordering::Relaxed);
            let forgotten = forget_peak();
            let recipe = Recipe { data: DataPart { batch: count, ..data }, ..run.recipe.clone() };
            let few = Run {
                recipe,
                learner: run.learner.clone(),
                data: run.data.clone(),
                transforms: run.transforms.clone(),
                plain: run.plain.clone(),
                validation: None,
                embeddings: run.embeddings.clone(),
                out: run.out.clone(),
                group: run.group.clone(),
            };
            // what else is wrong is found, and told, with the whole batch; a batch norm may ask for two
            match few.prove() {
                Err(TrainError::Candle(_)) => None,
                _ => {
                    // the system's own mark, where it can be set back: the guard looks now and then only
                    let files = rss_bytes().zip(own_bytes()).map_or(0, |(all, own)| all.saturating_sub(own));
                    let marked = forgotten.then(peak_rss_bytes).flatten().map(|peak| peak.saturating_sub(files));
                    let mark = marked.or_else(own_bytes).unwrap_or(0);
                    Some(self.seen.peak.load(Ordering::Relaxed).max(mark).saturating_sub(before))
                }
            }
        };
        // the proof has the gradients and a copy of what moves; a step the gradients, two means, perhaps a third
        let fixed = before + (3 + u64::from(run.recipe.ema.is_some())) * moving;
        let maps = |peak: u64, count: u64| peak.saturating_sub(2 * moving) / count;
        let one = measured(1).map(|peak| maps(peak, 1));
        let fits = |maps: u64| fixed + maps * batch as u64 <= most;
        let each = match one {
            Some(one) if fits(one) => return Ok(()),
            // some more tell what does not come again with every example; so many that what is measured stands out from an allocator's whims
            Some(one) if fixed + 2 * one <= most => {
                let more = (most.saturating_sub(fixed) / 4 / one.max(1)).clamp(2, MEASURED.min(batch as u64));
                measured(more as usize).map_or(one, |some| maps(some, 1).saturating_sub(one) / (more - 1))
            }
            Some(one) => one,
            None => match measured(2) {
                Some(two) => maps(two, 2),
                None => return Ok(()),
            },
        };
        if fits(each) {
            return Ok(());
        }
        // less than that, as nothing is measured to the byte and what is advised is measured anew
        let most_of_them = most.saturating_sub(fixed) * 8 / 10 / each.max(1);
        let advice = match most_of_them {
            0 if run.recipe.checkpointing => LESS.to_owned(),
            0 => format!("--set checkpointing=true keeps less; {LESS}"),
            count => format!(
                "--set data.batch={count} --set data.accumulate={} would fit, and sees as many in a step",
                (batch * data.accumulate).div_ceil(count as usize)
            ),
        };
        bail!(
            "a batch of {batch} takes about {} of memory, {} for each example, and there are {}: nothing was begun; {advice}",
            gib(fixed + each * batch as u64),
            gib(each),
            gib(most)
        )
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
    }
}

/// What takes less memory than a single example.
const LESS: &str = "a smaller data.batch, model.image_size or trunk takes less";

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / GIB)
}
