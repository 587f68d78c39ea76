//! Decoding and measuring the pairs of one run, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Context as _;
use seg_data::{DecodeLimits, GrayImage, PilFilter, load_gray, resize_pil};
use seg_metrics::{Accumulator, Evaluator, Plane, Scores, protocol::Resize};

use super::pairs::{Pair, Pairs};
use crate::cli::progress::Progress;

/// Measures all pairs; a pair that fails is told, with its reason.
///
/// Each thread decodes and measures pairs of its own, so that memory is that of a pair a thread, however many there are.
/// With fewer pairs than threads a pair gets several.
pub fn measure(
    pairs: &Pairs,
    evaluator: &Evaluator,
    all: &mut Accumulator,
    progress: &mut Progress,
) -> anyhow::Result<Vec<(String, String)>> {
    let threads = rayon::current_num_threads();
    let workers = threads.min(pairs.len()).max(1);
    let next = AtomicUsize::new(0);
    let (results, incoming) = mpsc::sync_channel::<(String, anyhow::Result<Scores>)>(workers);
    let mut failed = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for worker in 0..workers {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads / workers + usize::from(worker < threads % workers))
                .build()
                .context("cannot start a thread")?;
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                pool.install(|| {
                    while let Some(pair) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let scores = one(&pair, evaluator);
                        if results.send((pair.stem, scores)).is_err() {
                            break;
                        }
                    }
                });
            });
        }
        drop(results);
        for (stem, scores) in incoming {
            match scores {
                Ok(scores) => all.add(&stem, &scores)?,
                Err(error) => {
                    progress.message(&format!("error: {stem}: {error:#}"));
                    failed.push((stem, format!("{error:#}")));
                }
            }
            progress.step();
        }
        Ok(())
    })?;
    failed.sort();
    Ok(failed)
}

fn one(pair: &Pair, evaluator: &Evaluator) -> anyhow::Result<Scores> {
    let limits = DecodeLimits::default();
    let (pred, gt) = rayon::join(|| load_gray(&pair.pred, &limits), || load_gray(&pair.gt, &limits));
    let (mut pred, gt) = (pred?, gt?);
    if evaluator.protocol().resize == Resize::PilBicubic && pred.dimensions() != gt.dimensions() {
        pred = resize_pil(&pred, gt.dimensions(), PilFilter::Bicubic)?;
    }
    Ok(evaluator.measure(plane(&pred)?, plane(&gt)?)?)
}

/// An image as the metrics take it.
pub fn plane(image: &GrayImage) -> seg_metrics::Result<Plane<'_>> {
    Plane::new(image.as_raw(), image.width() as usize, image.height() as usize)
}
