//! Decoding and measuring the pairs of one run, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Context as _;
use seg_data::{DecodeLimits, GrayImage, PilFilter, resize_pil};
use seg_metrics::{Accumulator, Evaluator, Plane, Scores, protocol::Resize};

use super::pairs::{Pair, Pairs};
use super::reading::{Facts, Found, Read, read};
use crate::cli::common::in_one_line;
use crate::cli::progress::Progress;

/// Measures all pairs; a pair that fails is told, with its reason.
///
/// Each thread decodes and measures pairs of its own, so that memory is that of a pair a thread, however many there are.
/// With fewer pairs than threads a pair gets several.
pub fn measure(
    pairs: &Pairs,
    evaluator: &Evaluator,
    limits: &DecodeLimits,
    all: &mut Accumulator,
    found: &mut Found,
    progress: &mut Progress,
) -> anyhow::Result<Vec<(String, String)>> {
    let threads = rayon::current_num_threads();
    let workers = threads.min(pairs.len()).max(1);
    let next = AtomicUsize::new(0);
    let (results, incoming) = mpsc::sync_channel::<(String, anyhow::Result<(Scores, Facts)>)>(workers);
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
                        let scores = one(&pair, evaluator, limits);
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
                Ok((scores, facts)) => {
                    all.add(&stem, &scores)?;
                    found.add(facts);
                }
                Err(error) => {
                    let error = in_one_line(&error);
                    progress.message(&format!("error: {stem}: {error}"));
                    failed.push((stem, error));
                }
            }
            progress.step();
        }
        Ok(())
    })?;
    failed.sort();
    Ok(failed)
}

fn one(pair: &Pair, evaluator: &Evaluator, limits: &DecodeLimits) -> anyhow::Result<(Scores, Facts)> {
    let Read { mut pred, gt, facts } = read(pair, evaluator.protocol(), limits)?;
    if evaluator.protocol().resize == Resize::PilBicubic && pred.dimensions() != gt.dimensions() {
        pred = resize_pil(&pred, gt.dimensions(), PilFilter::Bicubic)?;
    }
    Ok((evaluator.measure(plane(&pred)?, plane(&gt)?)?, facts))
}

/// An image as the metrics take it.
pub fn plane(image: &GrayImage) -> seg_metrics::Result<Plane<'_>> {
    Plane::new(image.as_raw(), image.width() as usize, image.height() as usize)
}
