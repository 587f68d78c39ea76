//! Which examples a step sees: a function of the seed, the pass and the step alone.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::training::{Dice, Place};

/// What becomes of the examples at the end of a pass that fill no batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// They are left out of this pass.
    #[default]
    Drop,
    /// They are a smaller batch. Only where one process trains alone.
    Short,
    /// The batch is filled with the first of the same pass.
    Fill,
}

/// How a training goes through its examples.
///
/// With several processes each step takes `ranks · batch` examples, of which each process has a run of `batch`: two processes see in a step what one with
/// twice the batch sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The run's seed.
    pub seed: u64,
    /// Examples of a step and a process.
    pub batch: u64,
    /// Every pass in an order of its own; else as the source has them.
    #[serde(default = "yes")]
    pub shuffle: bool,
    /// The rest of a pass.
    #[serde(default)]
    pub rest: Rest,
    /// Number of this process.
    #[serde(default)]
    pub rank: u64,
    /// Processes that train together.
    #[serde(default = "one")]
    pub ranks: u64,
}

fn yes() -> bool {
    true
}

fn one() -> u64 {
    1
}

impl Plan {
    /// One process, shuffled, the rest of a pass left out.
    pub fn new(seed: u64, batch: u64) -> Self {
        Self { seed, batch, shuffle: true, rest: Rest::Drop, rank: 0, ranks: 1 }
    }

    /// Steps of a pass over `examples`; `None` where they never end.
    pub fn steps(&self, examples: Option<u64>) -> Option<u64> {
        let of_a_step = self.batch.saturating_mul(self.ranks).max(1);
        examples.map(|n| if self.rest == Rest::Drop { n / of_a_step } else { n.div_ceil(of_a_step) })
    }

    /// Refuses a plan that cannot be followed with so many examples.
    ///
    /// # Errors
    /// [`DataError::Plan`].
    pub fn check(&self, examples: Option<u64>) -> Result<()> {
        let wrong =
            |what, found: String, expected: &str| Err(DataError::Plan { what, found, expected: expected.into() });
        if self.batch == 0 {
            return wrong("the batch", "0".into(), "at least 1 example");
        }
        if self.rank >= self.ranks {
            let found = format!("{} of {}", self.rank, self.ranks);
            return wrong("the process's number", found, "a number below that of the processes, counted from 0");
        }
        if self.rest == Rest::Short && self.ranks > 1 {
            let expected = "drop or fill: processes that train together need batches of one size";
            return wrong("the rest of a pass", format!("short, with {} processes", self.ranks), expected);
        }
        match self.steps(examples) {
            Some(0) => {
                let found = format!("{}, {} a step", examples.unwrap_or(0), self.batch.saturating_mul(self.ranks));
                wrong(
                    "the number of examples",
                    found,
                    "enough for one step; make the batch smaller, or fill it (rest = \"fill\")",
                )
            }
            _ => Ok(()),
        }
    }
}

/// A plan for a source of a known length: any step of any pass, without the ones before.
#[derive(Debug)]
pub struct Schedule {
    plan: Plan,
    examples: Option<u64>,
    /// The order of the pass that was asked for last.
    order: Mutex<Option<(u64, Arc<Vec<u64>>)>>,
}

impl Schedule {
    /// # Errors
    /// As [`Plan::check`].
    pub fn new(plan: Plan, examples: Option<u64>) -> Result<Self> {
        plan.check(examples)?;
        Ok(Self { plan, examples, order: Mutex::new(None) })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Steps of a pass; `None` where it never ends.
    pub fn steps(&self) -> Option<u64> {
        self.plan.steps(self.examples)
    }

    /// Examples of this process in a pass; `None` where it never ends.
    pub fn of_a_pass(&self) -> Option<u64> {
        let steps = self.steps()?;
        // one process alone has short batches
        if self.plan.rest == Rest::Short { self.examples } else { Some(steps * self.plan.batch) }
    }

    /// How many examples [`Schedule::step`] gives.
    pub fn size(&self, step: u64) -> u64 {
        let batch = self.plan.batch;
        self.of_a_pass().map_or(batch, |all| all.saturating_sub(step.saturating_mul(batch)).min(batch))
    }

    /// The examples of this process in a step; none beyond the end of the pass.
    pub fn step(&self, epoch: u64, step: u64) -> Vec<Place> {
        if self.steps().is_some_and(|steps| step >= steps) {
            return Vec::new();
        }
        let Plan { seed, batch, rank, ranks, rest, .. } = self.plan;
        let first = (step * ranks + rank) * batch;
        let place = |index| Place { seed, epoch, index };
        let Some(examples) = self.examples else {
            return (first..first + batch).map(place).collect();
        };
        let order = self.plan.shuffle.then(|| self.order(epoch, examples));
        let at = |position: u64| order.as_ref().map_or(position, |order| order[position as usize]);
        let whole = (first..first + batch).filter(|position| rest != Rest::Short || *position < examples);
        whole.map(|position| place(at(position % examples))).collect()
    }

    fn order(&self, epoch: u64, examples: u64) -> Arc<Vec<u64>> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = last.as_ref().filter(|(of, _)| *of == epoch) {
            return order.clone();
        }
        let mut order: Vec<u64> = (0..examples).collect();
        Dice::new(Place { seed: self.plan.seed, epoch, index: 0 }, "order of the pass").shuffle(&mut order);
        let order = Arc::new(order);
        *last = Some((epoch, order.clone()));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(plan: Plan, examples: Option<u64>, epoch: u64) -> Vec<Vec<u64>> {
        let schedule = Schedule::new(plan, examples).unwrap();
        let steps = schedule.steps().unwrap_or(3);
        (0..steps).map(|step| schedule.step(epoch, step).iter().map(|place| place.index).collect()).collect()
    }

    #[test]
    fn a_pass_has_every_example_once_in_an_order_of_its_own() {
        let plan = Plan::new(5, 4);
        let first = indices(plan, Some(22), 0);
        assert_eq!((first.len(), first.concat().len()), (5, 20));
        assert_eq!(first, indices(plan, Some(22), 0));
        assert_ne!(first, indices(plan, Some(22), 1));
        assert_ne!(first, indices(Plan { seed: 6, ..plan }, Some(22), 0));
        let short = indices(Plan { rest: Rest::Short, ..plan }, Some(22), 0);
        assert_eq!((short.len(), &short[..5], short[5].len()), (6, &first[..], 2));
        let mut all = short.concat();
        all.sort_unstable();
        assert_eq!(all, (0..22).collect::<Vec<_>>());
        let filled = indices(Plan { rest: Rest::Fill, ..plan }, Some(22), 0);
        assert_eq!((&filled[5][..2], &filled[5][2..]), (&short[5][..], &first[0][..2]));
        assert_eq!(indices(Plan { shuffle: false, ..plan }, Some(8), 3), [[0, 1, 2, 3], [4, 5, 6, 7]]);
        assert_eq!(indices(Plan::new(1, 2), None, 0), [[0, 1], [2, 3], [4, 5]]);
    }

    #[test]
    fn processes_share_what_one_with_a_larger_batch_sees() {
        let whole = indices(Plan::new(9, 6), Some(40), 2);
        let parts: Vec<_> =
            (0..3).map(|rank| indices(Plan { rank, ranks: 3, ..Plan::new(9, 2) }, Some(40), 2)).collect();
        for (step, batch) in whole.iter().enumerate() {
            assert_eq!(*batch, parts.iter().flat_map(|part| part[step].clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn plans_that_cannot_be_followed_are_refused() {
        let wrong = |plan: Plan, n| plan.check(Some(n)).unwrap_err().to_string();
        assert!(wrong(Plan::new(1, 0), 3).contains("the batch is 0"));
        assert!(wrong(Plan::new(1, 8), 3).contains("3, 8 a step"));
        assert!(wrong(Plan { rank: 2, ranks: 2, ..Plan::new(1, 1) }, 9).contains("2 of 2"));
        assert!(wrong(Plan { rest: Rest::Short, ranks: 2, ..Plan::new(1, 1) }, 9).contains("short"));
        assert!(Plan { rest: Rest::Fill, ..Plan::new(1, 8) }.check(Some(3)).is_ok());
        assert!(Plan::new(1, 1).check(Some(0)).is_err());
    }
}
