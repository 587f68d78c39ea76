//! Batches in the order of the run, made ahead of the steps.

use super::{DataSize, Run};
use crate::learners::Learner;
use crate::recipe::{DataPart, Recipe};
use crate::{Result, TrainError};
use candle_core::Tensor;
use seg_data::training::{Dice, Example, Examples, Place};
use std::sync::Arc;

/// Inputs of a batch.
pub struct Batch {
    /// The learner's inputs, with the examples along the first axis.
    pub inputs: Vec<Tensor>,
    /// Names of the examples.
    pub names: Vec<String>,
}

/// The batches of a run from one of its steps on: which examples they hold is a function of the recipe's seed and the batch's number alone.
pub struct Feed<'r> {
    recipe: &'r Recipe,
    learner: &'r dyn Learner,
    data: Arc<dyn Examples>,
    batches: u64,
    next: u64,
    /// The order of a pass, and which.
    order: Option<(u64, Vec<u64>)>,
}

impl<'r> Feed<'r> {
    /// From the first batch of step number `step`, counted from 0.
    pub fn new(run: &'r Run, step: u64) -> Self {
        Self {
            recipe: &run.recipe,
            learner: run.learner.as_ref(),
            data: Arc::clone(&run.data),
            batches: DataSize::of(&run.recipe, run.data.as_ref()).batches,
            next: step * run.recipe.data.accumulate as u64,
            order: None,
        }
    }

    /// The first batch of a step.
    pub(super) fn once(run: &Run, step: u64, notes: &mut Vec<String>) -> Result<Batch> {
        Feed::new(run, step).next(notes)
    }

    /// The next batch. An example that cannot be read is told in `notes`, and the one behind it in the pass takes its place.
    ///
    /// # Errors
    /// A pass in which no example can be read.
    pub fn next(&mut self, notes: &mut Vec<String>) -> Result<Batch> {
        let (epoch, within) = (self.next / self.batches, self.next % self.batches);
        self.next += 1;
        let size = self.recipe.data.batch as u64;
        let mut rows: Vec<Vec<Tensor>> = Vec::with_capacity(size as usize);
        let mut names = Vec::with_capacity(size as usize);
        for i in 0..size {
            let (name, inputs) = self.readable(epoch, within * size + i, notes)?;
            names.push(name);
            rows.push(inputs);
        }
        let columns = rows.first().map_or(0, Vec::len);
        let column = |c: usize| Tensor::cat(&rows.iter().map(|row| &row[c]).collect::<Vec<_>>(), 0);
        Ok(Batch { inputs: (0..columns).map(column).collect::<candle_core::Result<_>>()?, names })
    }

    fn readable(&mut self, epoch: u64, position: u64, notes: &mut Vec<String>) -> Result<(String, Vec<Tensor>)> {
        let mut last = None;
        let tries = self.data.len().unwrap_or(1).min(100);
        for skipped in 0..tries {
            let place = Place { seed: self.recipe.seed, epoch, index: self.index(epoch, position + skipped) };
            let made = self.data.example(place).map_err(TrainError::from).and_then(|example| {
                let example = turned(example, place, &self.recipe.data);
                Ok((example.name.clone(), self.learner.inputs(&example, place)?))
            });
            match made {
                Ok(made) => return Ok(made),
                Err(error) => {
                    notes.push(format!("{error}; another example takes its place"));
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(TrainError::Count { what: "examples", got: 0, expected: 1 }))
    }

    /// Which example comes at a position of a pass.
    fn index(&mut self, epoch: u64, position: u64) -> u64 {
        let Some(len) = self.data.len() else { return position };
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order: Vec<u64> = (0..len).collect();
            Dice::new(Place { seed: self.recipe.seed, epoch, index: 0 }, "order").shuffle(&mut order);
            self.order = Some((epoch, order));
        }
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        order.get((position % len.max(1)) as usize).copied().unwrap_or(0)
    }
}

/// The example, mirrored or upside down where the dice say so.
fn turned(mut example: Example, place: Place, part: &DataPart) -> Example {
    let mut dice = Dice::new(place, "turn");
    let (mirror, flip) = (dice.chance(0.5) && part.mirror, dice.chance(0.5) && part.flip);
    if mirror {
        example.mirror();
    }
    if flip {
        example.flip();
    }
    example
}
