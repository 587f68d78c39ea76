//! Examples made ready ahead of the training, on threads of their own, in exact order.

mod plan;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

pub use plan::{Plan, Rest, Schedule};
use queue::{Bounds, Queue};
use serde::{Deserialize, Serialize};

use super::{Example, Examples, Place};
use crate::error::{DataError, Result};

/// Where a training is in its data: the next step to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Passes that are done.
    pub epoch: u64,
    /// Steps of this pass that are done.
    pub step: u64,
}

/// How far ahead is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ahead {
    /// Threads that read and prepare; at least one.
    pub threads: usize,
    /// Most examples that are ready or on their way; at least one.
    pub examples: u64,
    /// Most bytes of examples that are ready or on their way, those under way taken to be as large as the largest so far. The example that is waited for is made
    /// in any case. What decoding takes for a moment (a picture at its full size a thread) is beside it.
    pub bytes: u64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { threads: 2, examples: 16, bytes: 1 << 30 }
    }
}

/// The examples of one step of this process, in their order.
#[derive(Debug)]
pub struct Batch<T, E = DataError> {
    /// Where the training is: at this step.
    pub position: Position,
    /// Where it is when the step is done: what a saved training begins at.
    pub next: Position,
    /// What became of each example. One that failed is told here and stops nothing: the caller skips it or ends.
    pub items: Vec<(Place, std::result::Result<T, E>)>,
}

/// Loads ahead of a training: an iterator over batches, from any position, until `epochs` passes are done.
///
/// Workers read the examples and call `prepare` on them. What comes out, and in which order, does not depend on how many workers there are. Dropping the loader
/// lets them finish what they are doing, and joins them.
pub struct Loader<T, E = DataError> {
    queue: Arc<Queue<(Place, std::result::Result<T, E>)>>,
    schedule: Arc<Schedule>,
    workers: Vec<JoinHandle<()>>,
    position: Position,
    epochs: Option<u64>,
}

impl<T: Send + 'static, E: From<DataError> + Send + 'static> Loader<T, E> {
    /// Begins loading. `prepare` makes of an example what the training takes, and tells how many bytes that is.
    ///
    /// # Errors
    /// As [`Loader::of`].
    pub fn start(
        source: Arc<dyn Examples>,
        plan: Plan,
        from: Position,
        epochs: Option<u64>,
        ahead: Ahead,
        prepare: impl Fn(Example, Place) -> std::result::Result<(T, u64), E> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(source.len(), plan, from, epochs, ahead, move |place| prepare(source.example(place)?, place))
    }

    /// Begins loading from any source of so many examples (`None`: they never end): `make` reads and prepares the one at a place, and tells how many bytes it is.
    ///
    /// # Errors
    /// A plan that cannot be followed, a position beyond the pass, a thread that the system refuses.
    pub fn of(
        examples: Option<u64>,
        plan: Plan,
        from: Position,
        epochs: Option<u64>,
        ahead: Ahead,
        make: impl Fn(Place) -> std::result::Result<(T, u64), E> + Send + Sync + 'static,
    ) -> Result<Self> {
        let schedule = Arc::new(Schedule::new(plan, examples)?);
        let steps = schedule.steps();
        if let Some(steps) = steps.filter(|steps| from.step > *steps) {
            let expected = format!("at most {steps}, the steps of a pass");
            return Err(DataError::Plan { what: "the step to begin at", found: from.step.to_string(), expected });
        }
        let from = normal(from, steps);
        let queue = Arc::new(Queue::new(Bounds { count: ahead.examples.max(1), bytes: ahead.bytes }));
        let jobs = Jobs { schedule: schedule.clone(), from, epochs };
        let work = Arc::new(move |job: u64| {
            let place = jobs.place(job)?;
            Some(match catch_unwind(AssertUnwindSafe(|| make(place))) {
                Ok(Ok((made, bytes))) => ((place, Ok(made)), bytes),
                Ok(Err(error)) => ((place, Err(error)), 0),
                Err(panic) => ((place, Err(gave_up(place, panic.as_ref()).into())), 0),
            })
        });
        let mut loader = Self { queue, schedule, workers: Vec::new(), position: from, epochs };
        for i in 0..ahead.threads.max(1) {
            let (queue, work) = (loader.queue.clone(), work.clone());
            let run = move || {
                while let Some(job) = queue.begin() {
                    queue.finish(job, work(job));
                }
            };
            // those that run already end when the loader is dropped
            let worker = std::thread::Builder::new().name(format!("examples {i}")).spawn(run);
            loader.workers.push(worker.map_err(|e| DataError::io("the loader".as_ref(), "start a thread", e))?);
        }
        Ok(loader)
    }

    /// Steps of a pass; `None` where it never ends.
    pub fn steps(&self) -> Option<u64> {
        self.schedule.steps()
    }

    /// Where the next batch is.
    pub fn position(&self) -> Position {
        self.position
    }
}

impl<T, E> Iterator for Loader<T, E> {
    type Item = Batch<T, E>;

    fn next(&mut self) -> Option<Batch<T, E>> {
        let position = self.position;
        if self.epochs.is_some_and(|epochs| position.epoch >= epochs) {
            return None;
        }
        let count = self.schedule.size(position.step) as usize;
        let items: Vec<_> = (0..count).map_while(|_| self.queue.take()).collect();
        if items.len() < count {
            return None;
        }
        self.position = normal(Position { step: position.step + 1, ..position }, self.schedule.steps());
        Some(Batch { position, next: self.position, items })
    }
}

impl<T, E> Drop for Loader<T, E> {
    fn drop(&mut self) {
        self.queue.stop();
        for worker in self.workers.drain(..) {
            // a worker's panics are caught where they happen
            let _ = worker.join();
        }
    }
}

/// The end of a pass is the beginning of the next.
fn normal(position: Position, steps: Option<u64>) -> Position {
    match steps {
        Some(steps) if position.step >= steps => Position { epoch: position.epoch + 1, step: 0 },
        _ => position,
    }
}

/// The row of examples from a position on.
struct Jobs {
    schedule: Arc<Schedule>,
    from: Position,
    epochs: Option<u64>,
}

impl Jobs {
    /// The place of the `job`th example; `None` where the training is over.
    fn place(&self, job: u64) -> Option<Place> {
        let batch = self.schedule.plan().batch;
        let at = self.from.step * batch + job;
        // a pass that never ends is the only one
        let (passes, at) = self.schedule.of_a_pass().map_or((0, at), |all| (at / all, at % all));
        self.at(self.from.epoch + passes, at / batch)?.get((at % batch) as usize).copied()
    }

    fn at(&self, epoch: u64, step: u64) -> Option<Vec<Place>> {
        self.epochs.is_none_or(|epochs| epoch < epochs).then(|| self.schedule.step(epoch, step))
    }
}

fn gave_up(place: Place, panic: &(dyn std::any::Any + Send)) -> DataError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let reason = crate::error::one_line(message.unwrap_or("a panic without a message"));
    DataError::Prepare { index: place.index, epoch: place.epoch, reason }
}

#[cfg(test)]
mod tests;
