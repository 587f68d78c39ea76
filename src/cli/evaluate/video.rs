//! `hrseg evaluate --davis`: sequences of label images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rayon::prelude::*;
use seg_data::{DecodeLimits, load_labels};
use seg_metrics::video::{DavisSequence, DavisSummary, DavisTask, Decay, SavVideo, Statistics};
use seg_metrics::{Number, Plane};
use serde_json::{Map, Value, json};

use super::args::{EvaluateArgs, VideoTask};
use super::measure::plane;
use crate::cli::common::say;
use crate::cli::{Outcome, UsageError};

/// Runs the evaluation of one folder of sequences.
pub fn run(args: &EvaluateArgs, task: VideoTask) -> anyhow::Result<Outcome> {
    let ([pred], [gt]) = (&args.pred[..], &args.gt[..]) else {
        return Err(UsageError("--davis takes one --pred and one --gt".into()).into());
    };
    let sequences = sequences(&gt.folder).map_err(|e| UsageError(format!("{e:#}")))?;
    let single = sequences.len() == 1 && sequences[0].1 == gt.folder;
    let measured: Vec<(&str, anyhow::Result<Objects>)> = sequences
        .par_iter()
        .map(|(name, gt)| {
            let pred = if single { pred.folder.clone() } else { pred.folder.join(name) };
            (name.as_str(), objects(&pred, gt, task))
        })
        .collect();
    let (mut all, mut failed) = (Vec::new(), BTreeMap::new());
    for (name, result) in measured {
        match result {
            Ok(objects) => all.extend(objects.into_iter().map(|(id, j, f)| (format!("{name}_{id}"), j, f))),
            Err(error) => {
                say(format_args!("error: {name}: {error:#}"));
                failed.insert(name.to_owned(), format!("{error:#}"));
            }
        }
    }
    if all.is_empty() {
        anyhow::bail!("no objects in {}", gt.folder.display());
    }
    let aggregate = aggregate(&all, task);
    let text: Vec<String> = aggregate.iter().map(|(name, value)| format!("{name:<10} {value:.4}")).collect();
    let json = document(&all, &aggregate, &failed, task);
    super::write_results(&args.output, &text.join("\n"), |out| {
        serde_json::to_writer_pretty(&mut *out, &json)?;
        writeln!(out)
    })?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// Number, J and F of a sequence's objects, a value a frame.
type Objects = Vec<(u8, Vec<f64>, Vec<f64>)>;

/// The sequences below a folder by name, or the folder itself if it has frames.
fn sequences(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let reading = || format!("cannot read {}", folder.display());
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            found.push((name(&path), path));
        }
    }
    found.sort();
    if found.is_empty() {
        found.push((name(folder), folder.to_owned()));
    }
    Ok(found)
}

/// The frames of a sequence by stem.
fn frames(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let files = seg_data::inputs::expand(&[folder])?;
    Ok(files.into_iter().map(|f| (seg_data::inputs::stem(&f).to_string_lossy().into_owned(), f)).collect())
}

fn objects(pred: &Path, gt: &Path, task: VideoTask) -> anyhow::Result<Objects> {
    let (preds, gts) = (frames(pred)?, frames(gt)?);
    let last = gts.len() - 1;
    let limits = DecodeLimits::default();
    let each = |skip_ends: bool, add: &mut dyn FnMut(Plane<'_>, Plane<'_>) -> seg_metrics::Result<()>| {
        for (i, (stem, gt)) in gts.iter().enumerate() {
            if skip_ends && (i == 0 || i == last) {
                continue;
            }
            let truth = load_labels(gt, &limits)?;
            let guess = match preds.get(stem) {
                Some(path) => load_labels(path, &limits)?,
                // given, not predicted
                None if i == 0 && task == VideoTask::SemiSupervised => truth.clone(),
                None => anyhow::bail!("frame {stem} has no prediction in {}", pred.display()),
            };
            add(plane(&guess)?, plane(&truth)?).with_context(|| format!("frame {stem}"))?;
        }
        Ok(())
    };
    if task == VideoTask::SaV {
        let mut video = SavVideo::new();
        each(true, &mut |p, t| video.add(p, t))?;
        return Ok(video.finish().into_iter().map(|(id, object)| (id, object.j, object.f)).collect());
    }
    let task = if task == VideoTask::SemiSupervised { DavisTask::SemiSupervised } else { DavisTask::Unsupervised };
    let mut sequence = DavisSequence::new(task);
    each(false, &mut |p, t| sequence.add(p, t))?;
    Ok((1..).zip(sequence.finish()).map(|(id, object)| (id, object.j, object.f)).collect())
}

type Named = (String, Vec<f64>, Vec<f64>);

fn aggregate(all: &[Named], task: VideoTask) -> Vec<(&'static str, f64)> {
    if task == VideoTask::SaV {
        let mean = |part: fn(&Named) -> &Vec<f64>| {
            let means = all.iter().map(|o| 100. * Statistics::new(part(o), Decay::Exact).mean);
            means.sum::<f64>() / all.len() as f64
        };
        let (j, f) = (mean(|o| &o.1), mean(|o| &o.2));
        return vec![("J&F-Mean", (j + f) / 2.), ("J-Mean", j), ("F-Mean", f)];
    }
    let objects: Vec<_> = all
        .iter()
        .map(|(_, j, f)| seg_metrics::video::ObjectScores { proposal: 0, j: j.clone(), f: f.clone() })
        .collect();
    let DavisSummary { j, f, jf } = DavisSummary::new(&objects, Decay::Exact);
    vec![
        ("J&F-Mean", jf),
        ("J-Mean", j.mean),
        ("J-Recall", j.recall),
        ("J-Decay", j.decay),
        ("F-Mean", f.mean),
        ("F-Recall", f.recall),
        ("F-Decay", f.decay),
    ]
}

fn document(all: &[Named], aggregate: &[(&str, f64)], failed: &BTreeMap<String, String>, task: VideoTask) -> Value {
    let name = match task {
        VideoTask::SemiSupervised => "davis-semi-supervised",
        VideoTask::Unsupervised => "davis-unsupervised",
        VideoTask::SaV => "sa-v",
    };
    let factor = if task == VideoTask::SaV { 100. } else { 1. };
    let pairs: Map<String, Value> = all
        .iter()
        .map(|(name, j, f)| {
            let mean = |values: &[f64]| factor * Statistics::new(values, Decay::Exact).mean;
            (name.clone(), json!({ "J-Mean": Number(mean(j)), "F-Mean": Number(mean(f)) }))
        })
        .collect();
    let values: Map<String, Value> =
        aggregate.iter().map(|(name, v)| ((*name).to_owned(), json!(Number(*v)))).collect();
    json!({ "protocol": { "name": name }, "pairs": pairs, "aggregate": values, "failed": failed })
}
