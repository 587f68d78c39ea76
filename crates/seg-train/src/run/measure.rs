//! Scores of held-out examples.

use super::{Run, clips, pictures};
use crate::ema::Ema;
use crate::learners::inputs_at;
use crate::{Result, TrainError};
use candle_core::{DType, Tensor, Var};
use seg_data::training::{Examples, Place, Source};
use seg_data::{GrayImage, RgbImage};
use seg_metrics::{Accumulator, Evaluator, Metric, Plane, Protocol};
use seg_ops::Resize;
use std::collections::BTreeMap;

/// Scores by name, as `hrseg evaluate` calls them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Means over the examples.
    pub values: BTreeMap<String, f64>,
    /// How many there were.
    pub examples: u64,
}

impl Scores {
    /// For a watched score that is none of these.
    pub(super) fn unknown(&self, watched: &str) -> TrainError {
        let known = self.values.keys().cloned().collect::<Vec<_>>().join(", ");
        let problem = format!("watch is {watched:?}, expected one of {known}");
        TrainError::Recipe { recipe: "[validation]".into(), problem }
    }
}

/// Whether `value` of the score `name` is better than `than`: errors are better the smaller they are.
pub fn better(name: &str, value: f64, than: f64) -> bool {
    let error = ["mae", "mse", "hce"].iter().any(|error| name.starts_with(error));
    if error { value < than } else { value > than }
}

/// What is measured: what nearly every paper reports, and the overlap.
const METRICS: [Metric; 6] =
    [Metric::Mae, Metric::Smeasure, Metric::Emeasure, Metric::Fmeasure, Metric::Wfm, Metric::MaskIou];

/// Another seed than that of the training: sources that make their examples make others.
pub(super) const HELD_OUT: u64 = 0x68_656c_646f_7574;

impl Run {
    /// The protocol of the recipe's validation.
    ///
    /// # Errors
    /// A name that no protocol has.
    pub fn protocol(&self) -> Result<Protocol> {
        let name = &self.recipe.validation.protocol;
        Protocol::named(name).ok_or_else(|| TrainError::Recipe {
            recipe: "[validation]".into(),
            problem: format!("protocol is {name:?}, expected one that `hrseg evaluate --help` lists"),
        })
    }

    /// Refuses a validation that could not be done, before anything is.
    ///
    /// # Errors
    /// A protocol or a watched score that is not known.
    pub fn check_validation(&self) -> Result<()> {
        let watch = &self.recipe.validation.watch;
        if self.recipe.system.takes_clips() {
            let scores = clips::scores(&[]);
            let known = scores.values.contains_key(watch);
            return if known { clips::check_protocol(&self.recipe) } else { Err(scores.unknown(watch)) };
        }
        let protocol = self.protocol()?;
        let scores = Evaluator::new(protocol.clone(), &METRICS)
            .measure(Plane::new(&[0, 255], 2, 1)?, Plane::new(&[0, 255], 2, 1)?)?;
        let mut all = Accumulator::new(protocol, METRICS.to_vec(), false);
        all.add("a", &scores)?;
        let mut scores = Scores { values: all.aggregate()?.values, examples: 1 };
        scores.values.extend(self.learner.own_scores().iter().map(|name| ((*name).to_owned(), 0.)));
        match scores.values.contains_key(watch) {
            true => Ok(()),
            false => Err(scores.unknown(watch)),
        }
    }

    /// Measures held-out examples, by the running means of the weights where there are any, and writes pictures of the first.
    pub(super) fn measured(&self, examples: &Source, ema: Option<&Ema>, step: u64) -> Result<(Scores, Vec<String>)> {
        let _means = ema.map(|ema| Swapped::new(self, ema)).transpose()?;
        match examples {
            Source::Pictures(pictures) => self.measured_pictures(pictures.as_ref(), step),
            Source::Clips(clips) => clips::measured(self, clips.as_ref(), step),
        }
    }

    fn measured_pictures(&self, examples: &dyn Examples, step: u64) -> Result<(Scores, Vec<String>)> {
        let protocol = self.protocol()?;
        let evaluator = Evaluator::new(protocol.clone(), &METRICS);
        let mut all = Accumulator::new(protocol, METRICS.to_vec(), false);
        let count = examples.len().unwrap_or(u64::MAX).min(self.recipe.validation.examples);
        let mut shown: Vec<(RgbImage, GrayImage, GrayImage)> = Vec::new();
        let mut notes = Vec::new();
        let mut own: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
        for index in 0..count {
            let place = Place { seed: HELD_OUT, epoch: 0, index };
            let read = examples.example(place).map_err(TrainError::from).and_then(|example| {
                let prepared = self.plain.apply(example.clone(), place)?;
                let inputs = inputs_at(self.learner.as_ref(), self.embeddings.as_deref(), &prepared, place)?;
                Ok((example, inputs))
            });
            let (example, inputs) = match read {
                Ok(read) => read,
                Err(error) => {
                    notes.push(format!("{error}; not measured"));
                    continue;
                }
            };
            let (answer, scores) = self.learner.examine(&inputs)?;
            for (name, value) in scores.into_iter().filter(|(_, value)| value.is_finite()) {
                let (sum, seen) = own.entry(name).or_default();
                (*sum, *seen) = (*sum + value, *seen + 1);
            }
            let answer = levels(&answer, example.mask.dimensions())?;
            let (width, height) = (answer.width() as usize, answer.height() as usize);
            let (pred, gt) = (Plane::new(&answer, width, height)?, Plane::new(&example.mask, width, height)?);
            all.add(&format!("{index} {}", example.name), &evaluator.measure(pred, gt)?)?;
            if shown.len() < self.recipe.validation.pictures {
                shown.push((example.image, example.mask, answer));
            }
        }
        if !shown.is_empty() {
            pictures::write(&self.out.join("pictures").join(format!("step-{step:08}.png")), &shown)?;
        }
        if all.is_empty() {
            return Err(self.nothing_read());
        }
        let mut scores = Scores { values: all.aggregate()?.values, examples: count - notes.len() as u64 };
        scores.values.extend(own.into_iter().map(|(name, (sum, seen))| (name.to_owned(), sum / seen as f64)));
        notes.extend(self.embeddings.iter().flat_map(|cache| cache.notes()));
        Ok((scores, notes))
    }
}

impl Run {
    pub(super) fn nothing_read(&self) -> TrainError {
        TrainError::Run { path: self.out.clone(), problem: "none of the held-out examples can be read".into() }
    }
}

/// Probabilities `[1, 1, h, w]` as levels 0..255 at `size` (width and height).
pub(super) fn levels(probabilities: &Tensor, size: (u32, u32)) -> Result<GrayImage> {
    let (width, height) = size;
    let sized =
        seg_ops::resize(&probabilities.to_dtype(DType::F32)?, (height as usize, width as usize), &Resize::bilinear())?;
    let levels: Vec<u8> =
        sized.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|p| (p.clamp(0., 1.) * 255.).round() as u8).collect();
    GrayImage::from_raw(width, height, levels).ok_or(TrainError::Count { what: "predictions", got: 0, expected: 1 })
}

/// Running means in the place of the weights, until it is dropped.
pub(super) struct Swapped(Vec<(Var, Tensor)>);

impl Swapped {
    pub(super) fn new(run: &Run, ema: &Ema) -> Result<Self> {
        let means = ema.weights();
        let mut swapped = Self(Vec::new());
        for (name, var) in run.learner.weights().grouped().into_iter().flat_map(|(_, vars)| vars) {
            if let Some(mean) = means.get(&name) {
                swapped.0.push((var.clone(), var.as_tensor().copy()?));
                var.set(mean)?;
            }
        }
        Ok(swapped)
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        for (var, before) in &self.0 {
            // the same shape and type as a moment ago
            let _ = var.set(before);
        }
    }
}
