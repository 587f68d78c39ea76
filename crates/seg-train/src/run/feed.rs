//! Batches in the order of the run, made ahead of the steps.

use super::Run;
use crate::learners::{clip_inputs_at, inputs_at};
use crate::{Result, TrainError};
use candle_core::Tensor;
use seg_data::training::{Ahead, Loader, Place, Plan, Position, Rest, Source};
use std::collections::HashSet;

/// Inputs of a batch.
pub struct Batch {
    /// The learner's inputs, with the examples along the first axis; none where no example could be used.
    pub inputs: Vec<Tensor>,
    /// Names of the examples.
    pub names: Vec<String>,
    /// Examples that could not be used.
    pub lost: usize,
}

/// An example as the learner takes it.
type Ready = (String, Vec<Tensor>);

/// The batches of a run from one of its steps on: which examples they hold is a function of the recipe's seed and the batch's number alone.
pub struct Feed {
    loader: Loader<Ready, TrainError>,
    /// What has been told already.
    told: HashSet<String>,
}

/// How this process goes through the examples of a run.
pub(super) fn plan(run: &Run) -> Plan {
    let (batch, ranks) = (run.recipe.data.batch as u64, run.group.ranks() as u64);
    let few = run.data.len().is_some_and(|len| len < batch * ranks);
    // a last batch that is not full is left out, unless there is no other
    let rest = match (few, ranks) {
        (false, _) => Rest::Drop,
        (true, 1) => Rest::Short,
        (true, _) => Rest::Fill,
    };
    Plan { rest, rank: run.group.rank() as u64, ranks, ..Plan::new(run.recipe.seed, batch) }
}

impl Feed {
    /// From the first batch of step number `step`, counted from 0.
    ///
    /// # Errors
    /// Data that no batch can be made of.
    pub fn new(run: &Run, step: u64) -> Result<Self> {
        let plan = plan(run);
        let batch = step * run.recipe.data.accumulate as u64;
        let position = match plan.steps(run.data.len()) {
            Some(steps) => Position { epoch: batch / steps.max(1), step: batch % steps.max(1) },
            None => Position { epoch: 0, step: batch },
        };
        let part = run.recipe.data;
        let ahead = Ahead { threads: part.workers, examples: 2 * part.batch as u64 + 1, ..Ahead::default() };
        let (learner, transforms, data) = (run.learner.clone(), run.transforms.clone(), run.data.clone());
        let embeddings = run.embeddings.clone();
        let make = move |place: Place| {
            let (name, inputs) = match &data {
                Source::Pictures(pictures) => {
                    let prepared = transforms.apply(pictures.example(place)?, place)?;
                    let inputs = inputs_at(learner.as_ref(), embeddings.as_deref(), &prepared, place)?;
                    (prepared.name, inputs)
                }
                Source::Clips(clips) => {
                    let prepared = transforms.apply_to_clip(clips.clip(place)?, place)?;
                    let inputs = clip_inputs_at(learner.as_ref(), &prepared, place)?;
                    (prepared.name, inputs)
                }
            };
            let bytes = inputs.iter().map(|t| (t.elem_count() * t.dtype().size_in_bytes()) as u64).sum();
            Ok(((name, inputs), bytes))
        };
        let loader = Loader::of(run.data.len(), plan, position, None, ahead, make)?;
        Ok(Self { loader, told: HashSet::new() })
    }

    /// The next batch. Examples that cannot be read are missing in it, and told in `notes`: each once, not in every pass.
    ///
    /// # Errors
    /// A loader that has ended, which it does not by itself.
    pub fn next(&mut self, notes: &mut Vec<String>) -> Result<Batch> {
        let batch = self.loader.next().ok_or(TrainError::Count { what: "batches", got: 0, expected: 1 })?;
        let (mut names, mut rows, mut lost) = (Vec::new(), Vec::new(), 0);
        for (_, item) in batch.items {
            match item {
                Ok((name, inputs)) => {
                    names.push(name);
                    rows.push(inputs);
                }
                Err(error) => {
                    lost += 1;
                    let note = format!("{error}; left out of its batch");
                    if self.told.insert(note.clone()) {
                        notes.push(note);
                    }
                }
            }
        }
        let columns = rows.first().map_or(0, Vec::len);
        let column = |c: usize| Tensor::cat(&rows.iter().map(|row| &row[c]).collect::<Vec<_>>(), 0);
        Ok(Batch { inputs: (0..columns).map(column).collect::<candle_core::Result<_>>()?, names, lost })
    }
}
