//! `hrseg evaluate --davis`: sequences of label images, or of SA-V's masks.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rayon::prelude::*;
use seg_data::inputs::LeftOut;
use seg_data::{DecodeLimits, GrayImage, LabelImage, load_labels};
use seg_metrics::video::{DavisSequence, DavisSummary, DavisTask, Decay, SavMasks, SavVideo, Statistics};
use seg_metrics::{Error, Number, Plane};
use serde_json::{Map, Value, json};

use super::args::{EvaluateArgs, VideoTask};
use super::measure::plane;
use super::sequences::{Layout, Sequence, Sequences, list};
use crate::cli::common::{in_one_line, say};
use crate::cli::{Outcome, UsageError};

/// Runs the evaluation of one folder of sequences.
pub fn run(args: &EvaluateArgs, task: VideoTask, limits: &DecodeLimits) -> anyhow::Result<Outcome> {
    let ([pred], [gt]) = (&args.pred[..], &args.gt[..]) else {
        return Err(UsageError("--davis takes one --pred and one --gt".into()).into());
    };
    let found = Sequences::find(&pred.folder, &gt.folder).map_err(|e| UsageError(in_one_line(&e)))?;
    let measured: Vec<Scored> = found.all.par_iter().map(|sequence| Scored::new(sequence, task, limits)).collect();
    let (mut all, mut failed, mut remarks) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let [mut in_pred, mut in_gt] = found.left_out;
    for (scored, sequence) in measured.into_iter().zip(&found.all) {
        all.extend(scored.objects);
        for (name, error) in scored.failed {
            let error = in_one_line(&error);
            say(format_args!("error: {name}: {error}"));
            failed.insert(name, error);
        }
        for (remark, what) in scored.remarks {
            remarks.entry(remark).or_insert_with(Vec::new).push(format!("{}: {what}", sequence.name));
        }
        let [pred, gt] = scored.left_out;
        in_pred.merge(pred);
        in_gt.merge(gt);
    }
    let mut notes = found.notes;
    for (folder, left_out) in [(&pred.folder, in_pred), (&gt.folder, in_gt)] {
        notes.extend(left_out.note().map(|note| format!("{}: {note}", folder.display())));
    }
    for note in &notes {
        say(format_args!("note: {note}"));
    }
    for (remark, places) in remarks {
        say(format_args!("note: {}: {}", remark.text(), list(&places)));
        notes.push(format!("{}: {}", remark.text(), places.join("; ")));
    }
    if all.is_empty() {
        bail!("nothing could be scored in {}", gt.folder.display());
    }
    let aggregate = aggregate(&all, task);
    let unit = if task == VideoTask::SaV { " %" } else { "" };
    let text: Vec<String> = aggregate.iter().map(|(name, value)| format!("{name:<10} {value:.4}{unit}")).collect();
    let mut json = document(&all, &aggregate, &failed, task);
    json["notes"] = json!(notes);
    super::write_results(&args.output, &text.join("\n"), |out| {
        serde_json::to_writer_pretty(&mut *out, &json)?;
        writeln!(out)
    })?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// What is worth a word though it is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remark {
    Absent,
    Late,
    Superfluous,
    NoTruth,
    Unread,
    Void,
    Packed,
}

impl Remark {
    fn text(self) -> &'static str {
        match self {
            Self::Absent => {
                "objects that count because the first ground truth has a higher label, though it does not have them \
                 (J and F are 1 where neither side has one)"
            }
            Self::Late => "labels of later ground truths above the highest of the first: not scored, as davis2017 does",
            Self::Superfluous => "labels of the prediction that no ground truth has: they count nowhere",
            Self::NoTruth => "predicted objects without ground truth: they count nowhere",
            Self::Unread => "predicted frames without ground truth: not looked at",
            Self::Void => "label 255 in the ground truth: an object by SA-V's rules, not void as in DAVIS",
            Self::Packed => {
                "grey label images of 2 or 4 bits a pixel: their numbers are the labels; Pillow, and with it davis2017 and \
                 sav_evaluator, multiplies them by 85 or 17 (save them with a palette or with 8 bits)"
            }
        }
    }
}

/// Name, J and F of an object, a value a frame.
type Named = (String, Vec<f64>, Vec<f64>);

/// What came out of a sequence.
#[derive(Default)]
struct Scored {
    objects: Vec<Named>,
    /// Sequences and objects that could not be scored.
    failed: Vec<(String, anyhow::Error)>,
    remarks: Vec<(Remark, String)>,
    /// Of the predictions and of the ground truths.
    left_out: [LeftOut; 2],
}

impl Scored {
    fn new(sequence: &Sequence, task: VideoTask, limits: &DecodeLimits) -> Self {
        let mut out = Self::default();
        if let Err(error) = out.score(sequence, task, limits) {
            out.failed.push((sequence.name.clone(), error));
        }
        out
    }

    fn score(&mut self, sequence: &Sequence, task: VideoTask, limits: &DecodeLimits) -> anyhow::Result<()> {
        let Sequence { name, gt, pred } = sequence;
        let [in_pred, in_gt] = &mut self.left_out;
        let truths = Layout::read(gt, in_gt)?;
        if !pred.is_dir() {
            bail!("there is no folder {}", pred.display());
        }
        let preds = Layout::read(pred, in_pred);
        let gts = match truths {
            Layout::Frames(frames) => frames,
            Layout::Objects(_) if task != VideoTask::SaV => {
                bail!("{} has a folder an object: SA-V's layout, which --davis sa-v scores", gt.display())
            }
            Layout::Objects(objects) => {
                let preds = match preds? {
                    Layout::Objects(folders) => folders,
                    Layout::Frames(_) => bail!(
                        "{} has images, expected a folder an object as in the ground truth ({})",
                        pred.display(),
                        list(objects.keys())
                    ),
                };
                let lone: Vec<&String> = preds.keys().filter(|object| !objects.contains_key(*object)).collect();
                if !lone.is_empty() {
                    self.remarks.push((Remark::NoTruth, list(lone)));
                }
                for (object, folder) in &objects {
                    let name = format!("{name}_{object}");
                    let pred = pred.join(preds.get(object).unwrap_or(folder));
                    match masks(&pred, &gt.join(folder), limits, &mut self.left_out) {
                        Ok((j, f)) => self.objects.push((name, j, f)),
                        Err(error) => self.failed.push((name, error)),
                    }
                }
                return Ok(());
            }
        };
        let frames = FramePairs::new(gts, preds?.frames(pred)?, pred, limits);
        let lone = frames.lone();
        let objects = match task {
            VideoTask::SaV => self.sa_v(&frames)?,
            VideoTask::SemiSupervised => self.davis(&frames, DavisTask::SemiSupervised)?,
            VideoTask::Unsupervised => self.davis(&frames, DavisTask::Unsupervised)?,
        };
        if frames.packed.get() > 0 {
            self.remarks.push((Remark::Packed, format!("{} images", frames.packed.get())));
        }
        if task != VideoTask::SaV && !lone.is_empty() {
            self.remarks.push((Remark::Unread, list(lone)));
        }
        self.objects.extend(objects.into_iter().map(|(id, j, f)| (format!("{name}_{id}"), j, f)));
        Ok(())
    }

    fn sa_v(&mut self, frames: &FramePairs) -> anyhow::Result<Objects> {
        let mut video = SavVideo::new();
        frames.each(SavVideo::scored(frames.len()), |pred, gt| video.add(pred, gt))?;
        let superfluous: Vec<u8> = video.superfluous().collect();
        if !superfluous.is_empty() {
            self.remarks.push((Remark::Superfluous, numbers(&superfluous)));
        }
        let objects = video.finish();
        if objects.contains_key(&255) && objects.len() > 1 {
            self.remarks.push((Remark::Void, "255".to_owned()));
        }
        if objects.is_empty() {
            bail!("no object is in any of the {} ground truths that count", SavVideo::scored(frames.len()).len());
        }
        Ok(objects.into_iter().map(|(id, object)| (id, object.j, object.f)).collect())
    }

    fn davis(&mut self, frames: &FramePairs, task: DavisTask) -> anyhow::Result<Objects> {
        let first = frames.truth(0)?;
        let mut sequence = DavisSequence::from_first(task, plane(&first)?);
        if sequence.objects() == Some(0) {
            let void = if first.as_raw().contains(&255) {
                ": it has 255 alone, which is void in DAVIS; objects are numbered from 1"
            } else {
                ", from which the rules of DAVIS take the objects"
            };
            bail!("the ground truth has no object in its first frame, {}{void}", frames.gts[0].1.display());
        }
        frames.each(task.scored(frames.len()), |pred, gt| sequence.add(pred, gt))?;
        for (remark, labels) in
            [(Remark::Absent, sequence.absent().collect::<Vec<_>>()), (Remark::Late, sequence.late().collect())]
        {
            if !labels.is_empty() {
                self.remarks.push((remark, numbers(&labels)));
            }
        }
        Ok((1..).zip(sequence.finish()).map(|(id, object)| (id, object.j, object.f)).collect())
    }
}

/// Number, J and F of a sequence's objects, a value a frame.
type Objects = Vec<(u8, Vec<f64>, Vec<f64>)>;

fn numbers(labels: &[u8]) -> String {
    list(&labels.iter().map(u8::to_string).collect::<Vec<_>>())
}

/// J and F of an object of SA-V's layout, a value a frame.
fn masks(
    pred: &Path,
    gt: &Path,
    limits: &DecodeLimits,
    left_out: &mut [LeftOut; 2],
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let [in_pred, in_gt] = left_out;
    let gts = Layout::read(gt, in_gt)?.frames(gt)?;
    if !pred.is_dir() {
        bail!("there is no folder {}", pred.display());
    }
    let frames = FramePairs::new(gts, Layout::read(pred, in_pred)?.frames(pred)?, pred, limits);
    let mut object = SavMasks::new();
    let scored = SavVideo::scored(frames.len());
    frames.each(scored.clone(), |pred, gt| object.add(pred, gt))?;
    let object = object.finish();
    let scores =
        object.with_context(|| format!("the object is in none of the {} ground truths that count", scored.len()))?;
    Ok((scores.j, scores.f))
}

/// Ground truths in order, and the predictions by name.
struct FramePairs<'a> {
    gts: Vec<(String, PathBuf)>,
    preds: BTreeMap<String, PathBuf>,
    folder: &'a Path,
    limits: &'a DecodeLimits,
    /// Images read whose levels Pillow multiplies.
    packed: Cell<usize>,
}

impl<'a> FramePairs<'a> {
    fn new(
        gts: Vec<(String, PathBuf)>,
        preds: Vec<(String, PathBuf)>,
        folder: &'a Path,
        limits: &'a DecodeLimits,
    ) -> Self {
        Self { gts, preds: preds.into_iter().collect(), folder, limits, packed: Cell::new(0) }
    }

    fn len(&self) -> usize {
        self.gts.len()
    }

    /// Predictions without ground truth.
    fn lone(&self) -> Vec<&String> {
        let known: std::collections::BTreeSet<&String> = self.gts.iter().map(|(name, _)| name).collect();
        self.preds.keys().filter(|name| !known.contains(name)).collect()
    }

    fn truth(&self, i: usize) -> seg_data::Result<GrayImage> {
        self.labels(&self.gts[i].1)
    }

    fn labels(&self, path: &Path) -> seg_data::Result<GrayImage> {
        let LabelImage { labels, pillow_factor } = load_labels(path, self.limits)?;
        self.packed.set(self.packed.get() + usize::from(pillow_factor > 1));
        Ok(labels)
    }

    /// Hands the frames that count on, prediction and ground truth; those of the others are not read.
    fn each(
        &self,
        scored: std::ops::Range<usize>,
        mut add: impl FnMut(Plane<'_>, Plane<'_>) -> seg_metrics::Result<()>,
    ) -> anyhow::Result<()> {
        if scored.is_empty() {
            let frames = if self.len() == 1 { "1 frame" } else { &format!("{} frames", self.len()) };
            bail!("it has {frames}, and none to score: the first and the last do not count");
        }
        for i in scored {
            let name = &self.gts[i].0;
            let path = self.preds.get(name);
            let path = path.with_context(|| format!("frame {name} has no prediction in {}", self.folder.display()))?;
            let (pred, gt) = (self.labels(path)?, self.truth(i)?);
            let added = plane(&pred).and_then(|pred| add(pred, plane(&gt)?));
            if let Err(Error::Label { label: 255, .. }) = added {
                bail!("frame {name}: the prediction has label 255, which is no object in DAVIS: number them from 1");
            }
            added.with_context(|| format!("frame {name}"))?;
        }
        Ok(())
    }
}

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
    let (factor, unit) = if task == VideoTask::SaV { (100., "percent") } else { (1., "fraction") };
    let pairs: Map<String, Value> = all
        .iter()
        .map(|(name, j, f)| {
            let mean = |values: &[f64]| factor * Statistics::new(values, Decay::Exact).mean;
            (name.clone(), json!({ "J-Mean": Number(mean(j)), "F-Mean": Number(mean(f)) }))
        })
        .collect();
    let values: Map<String, Value> =
        aggregate.iter().map(|(name, v)| ((*name).to_owned(), json!(Number(*v)))).collect();
    json!({ "protocol": { "name": name }, "unit": unit, "pairs": pairs, "aggregate": values, "failed": failed })
}
