//! Batches in the order of the run, made ahead of the steps.

use super::Run;
use crate::embeddings::EmbeddingCache;
use crate::learners::inputs_at;
use crate::recipe::Recipe;
use crate::{Result, TrainError};
use candle_core::Tensor;
use seg_data::training::{Ahead, Example, Examples, Loader, Place, Plan, Position, Rest};
use std::sync::Arc;

/// Inputs of a batch.
pub struct Batch {
    /// The learner's inputs, with the examples along the first axis; none where no example could be used.
    pub inputs: Vec<Tensor>,
    /// Names of the examples.
    pub names: Vec<String>,
}

/// An example as the learner takes it.
type Ready = (String, Vec<Tensor>);

/// The batches of a run from one of its steps on: which examples they hold is a function of the recipe's seed and the batch's number alone.
pub struct Feed {
    loader: Loader<Ready, TrainError>,
    embeddings: Option<Arc<EmbeddingCache>>,
}

/// How a recipe goes through so many examples.
pub(super) fn plan(recipe: &Recipe, data: &dyn Examples) -> Plan {
    let few = data.len().is_some_and(|len| len < recipe.data.batch as u64);
    // a last batch that is not full is left out, unless there is no other
    Plan { rest: if few { Rest::Short } else { Rest::Drop }, ..Plan::new(recipe.seed, recipe.data.batch as u64) }
}

impl Feed {
    /// From the first batch of step number `step`, counted from 0.
    ///
    /// # Errors
    /// Data that no batch can be made of.
    pub fn new(run: &Run, step: u64) -> Result<Self> {
        let plan = plan(&run.recipe, run.data.as_ref());
        let batch = step * run.recipe.data.accumulate as u64;
        let position = match plan.steps(run.data.len()) {
            Some(steps) => Position { epoch: batch / steps.max(1), step: batch % steps.max(1) },
            None => Position { epoch: 0, step: batch },
        };
        let part = run.recipe.data;
        let ahead = Ahead { threads: part.workers, examples: 2 * part.batch as u64 + 1, ..Ahead::default() };
        let (learner, transforms, embeddings) = (run.learner.clone(), run.transforms.clone(), run.embeddings.clone());
        let prepare = move |example: Example, place: Place| {
            let name = example.name.clone();
            let prepared = transforms.apply(example, place)?;
            let inputs = inputs_at(learner.as_ref(), embeddings.as_deref(), &prepared, place)?;
            let bytes = inputs.iter().map(|t| (t.elem_count() * t.dtype().size_in_bytes()) as u64).sum();
            Ok(((name, inputs), bytes))
        };
        let loader = Loader::start(run.data.clone(), plan, position, None, ahead, prepare)?;
        Ok(Self { loader, embeddings: run.embeddings.clone() })
    }

    /// The next batch. Examples that cannot be read are told in `notes`, and missing in it.
    ///
    /// # Errors
    /// A loader that has ended, which it does not by itself.
    pub fn next(&mut self, notes: &mut Vec<String>) -> Result<Batch> {
        let batch = self.loader.next().ok_or(TrainError::Count { what: "batches", got: 0, expected: 1 })?;
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        notes.extend(self.embeddings.iter().flat_map(|cache| cache.notes()));
        for (_, item) in batch.items {
            match item {
                Ok((name, inputs)) => {
                    names.push(name);
                    rows.push(inputs);
                }
                Err(error) => notes.push(format!("{error}; left out of its batch")),
            }
        }
        let columns = rows.first().map_or(0, Vec::len);
        let column = |c: usize| Tensor::cat(&rows.iter().map(|row| &row[c]).collect::<Vec<_>>(), 0);
        Ok(Batch { inputs: (0..columns).map(column).collect::<candle_core::Result<_>>()?, names })
    }
}
