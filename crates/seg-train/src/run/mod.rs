//! The loop: examples in, better weights out, and everything written down so that it can be gone on with.

mod clips;
mod feed;
mod folder;
mod measure;
mod pictures;
mod step;

pub use feed::Feed;
pub use measure::{Scores, better};

use crate::ema::Ema;
use crate::embeddings::EmbeddingCache;
use crate::learners::Learner;
use crate::log::{Line, Log, curves};
use crate::optim::Adam;
use crate::parallel::{agree, fingerprint};
use crate::probe::{Proof, probe};
use crate::recipe::{LengthPart, Recipe};
use crate::schedule::Length;
use crate::store::{Entry, Saved, Store};
use crate::{Result, TrainError};
use candle_core::{Tensor, Var};
use folder::Folder;
use seg_data::output::{Overwrite, write_png};
use seg_data::training::Source;
use seg_data::training::transform::Transforms;
use seg_ops::AllReduce;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a run is made of.
pub struct Run {
    /// What to do.
    pub recipe: Recipe,
    /// The system.
    pub learner: Arc<dyn Learner>,
    /// What it learns from.
    pub data: Source,
    /// What is done to its examples.
    pub transforms: Transforms,
    /// What is done to those that are measured.
    pub plain: Transforms,
    /// What it is measured on; `None`: nothing is measured.
    pub validation: Option<Source>,
    /// Where the frozen encoder's embeddings are kept; `None`: nowhere.
    pub embeddings: Option<Arc<EmbeddingCache>>,
    /// Where everything is written.
    pub out: PathBuf,
    /// The processes that train together; [`seg_ops::Alone`]: this one alone. The first one writes everything.
    pub group: Arc<dyn AllReduce>,
}

/// Who looks on.
pub trait Watch {
    /// A sentence to be told.
    fn note(&mut self, text: &str);
    /// A step is done.
    fn stepped(&mut self, step: &Stepped);
    /// Held-out examples have been measured.
    fn measured(&mut self, step: u64, scores: &Scores);
}

/// Looks on by printing: notes, scores, and every fiftieth step, of short runs every one.
pub struct Printed;

impl Watch for Printed {
    fn note(&mut self, text: &str) {
        println!("{text}");
    }

    fn stepped(&mut self, step: &Stepped) {
        let loss = step.loss.map_or_else(|| "left out".into(), |loss| format!("loss {loss:.4}"));
        if step.step.is_multiple_of(50) || step.steps <= 20 {
            println!("step {} of {}: {loss}, {:.2} s", step.step, step.steps, step.seconds);
        }
    }

    fn measured(&mut self, step: u64, scores: &Scores) {
        let values: Vec<String> = scores.values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        println!("step {step}, {} held-out examples: {}", scores.examples, values.join(", "));
    }
}

/// What there is to say of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped {
    /// Steps that are done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss of the step's examples; `None`: the step was left out.
    pub loss: Option<f64>,
    /// Examples of the step, in all processes.
    pub examples: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Steps that are done.
    pub step: u64,
    /// Whether all of the recipe's are.
    pub complete: bool,
    /// The best watched score and its step.
    pub best: Option<(f64, u64)>,
}

/// What a run's steps need.
struct Begun {
    folder: Folder,
    store: Store,
    trained: Vec<(String, Var)>,
    optimiser: Adam,
    ema: Option<Ema>,
    entry: Entry,
    /// Nothing was saved yet.
    fresh: bool,
}

/// Steps in a row that may be left out because a number is not finite.
const LEFT_OUT_AT_MOST: u32 = 10;

/// Batches that are looked at for a whole one to prove the gradients on.
const PROVEN_AMONG: usize = 10;

impl Run {
    /// A run of one process, with the recipe's transforms, that keeps no embeddings.
    ///
    /// # Errors
    /// Transforms that cannot be done.
    pub fn alone(
        recipe: Recipe,
        learner: Arc<dyn Learner>,
        data: Source,
        validation: Option<Source>,
        out: PathBuf,
    ) -> Result<Self> {
        let [transforms, plain] = recipe.transforms(learner.image_size())?;
        let group = Arc::new(seg_ops::Alone);
        Ok(Self { recipe, learner, data, transforms, plain, validation, embeddings: None, out, group })
    }

    /// How many steps there are, and how many to a pass over the data.
    pub fn length(&self) -> Length {
        // where the data never ends, a pass is as long as the recipe says
        let examples = self.data.len().or(Some(self.recipe.data.epoch));
        let batches = feed::plan(self).steps(examples).unwrap_or(1);
        let steps_per_epoch = batches.div_ceil(self.recipe.data.accumulate as u64).max(1);
        let steps = match self.recipe.length {
            LengthPart::Steps(steps) => steps,
            LengthPart::Epochs(epochs) => epochs * steps_per_epoch,
        };
        Length { steps, steps_per_epoch }
    }

    /// The gradients' proof, on the run's first batch.
    ///
    /// # Errors
    /// Weights that no gradient reaches, frozen ones that one does; what the batch itself fails with.
    pub fn prove(&self) -> Result<Proof> {
        self.prove_on(&self.first_batch()?)
    }

    fn prove_on(&self, inputs: &[Tensor]) -> Result<Proof> {
        probe(self.learner.weights(), &self.recipe.probe, || Ok(self.learner.loss(inputs)?.total))
    }

    /// Norms that the file of the beginning has folded into their convolutions learn by statistics of batches from here on, first of all of this one: how many. Nothing is
    /// answered otherwise.
    fn unfold(&self, inputs: &[Tensor]) -> Result<usize> {
        // without a file nothing is folded
        match self.recipe.batch_norm_trains && self.learner.begun().is_some() {
            true => self.learner.unfold(inputs, &self.group),
            false => Ok(0),
        }
    }

    /// The inputs of the run's first batch.
    fn first_batch(&self) -> Result<Vec<Tensor>> {
        let mut notes = Vec::new();
        let mut feed = Feed::new(self, 0)?;
        let mut batch = feed.next(&mut notes)?;
        // one that is short of pictures that cannot be read says little
        for _ in 0..PROVEN_AMONG {
            if batch.lost == 0 {
                break;
            }
            batch = feed.next(&mut notes)?;
        }
        let problem = format!("no example of the first batch can be used: {}", notes.join("; "));
        let usable = match batch.inputs.is_empty() {
            true => Err(TrainError::Run { path: "the data".into(), problem }),
            false => Ok(()),
        };
        agree(self.group.as_ref(), usable)?;
        Ok(batch.inputs)
    }

    /// The first steps of the run, as [`Run::train`] takes them, without proof, log and checkpoints: seconds of each, waiting for its pictures included.
    ///
    /// # Errors
    /// Those of a step.
    pub fn time(&self, steps: u64, watch: &mut dyn Watch) -> Result<Vec<f64>> {
        let length = self.length();
        let grouped = self.learner.weights().grouped();
        let trained: Vec<_> = grouped.iter().flat_map(|(_, vars)| vars.clone()).collect();
        let mut optimiser = Adam::new(grouped, self.recipe.optimizer)?;
        let mut feed = Feed::new(self, 0)?;
        let mut seconds = Vec::new();
        for step in 0..steps {
            let started = Instant::now();
            let lr = self.recipe.schedule.rate(step, length);
            let outcome = step::step(self, &mut feed, &mut optimiser, &trained, lr, step, watch)?;
            outcome.problem.map_or(Ok(()), Err)?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }

    /// Trains to the end of the recipe, or until `stop` is set: then the step is finished and saved. With `resume` it goes on from the newest whole checkpoint.
    ///
    /// # Errors
    /// A folder that already has a run (without `resume`), or another one (with it); data that cannot be read; numbers that are not finite
    /// again and again; a disk that is full. What was saved before stays as it is.
    pub fn train(&self, resume: bool, stop: &AtomicBool, watch: &mut dyn Watch) -> Result<Ended> {
        let (length, group) = (self.length(), self.group.as_ref());
        let first = group.rank() == 0;
        let Begun { mut folder, store, trained, mut optimiser, mut ema, mut entry, fresh } =
            agree(group, self.begin(resume, length, watch))?;
        self.compare(&trained, entry.step, &folder.digest)?;
        if fresh {
            let inputs = agree(group, self.first_batch())?;
            let unfolded = agree(group, self.unfold(&inputs))?;
            let proof = agree(group, self.prove_on(&inputs))?;
            drop(inputs);
            if first && unfolded > 0 {
                watch.note(&format!(
                    "{unfolded} batch norms were folded into their convolutions: they are norms of the first batch now, which changes no answer"
                ));
            }
            if first {
                watch.note(&proof.to_string());
            }
        }
        let log = || -> Result<Option<Log>> {
            if !first {
                return Ok(None);
            }
            folder.begin(self)?;
            Log::open(&self.out, entry.step).map(Some)
        };
        let mut log = agree(group, { log }())?;
        let (mut left_out, mut told) = (0, HashSet::new());
        let mut feed = Feed::new(self, entry.step)?;
        let mut stopping = group.any(stop.load(Ordering::Relaxed))?;
        while entry.step < length.steps && !stopping {
            let started = Instant::now();
            let lr = self.recipe.schedule.rate(entry.step, length);
            let outcome = step::step(self, &mut feed, &mut optimiser, &trained, lr, entry.step, watch)?;
            entry.step += 1;
            match &outcome.problem {
                None => left_out = 0,
                Some(error) => {
                    left_out += 1;
                    if left_out > LEFT_OUT_AT_MOST {
                        let problem = format!(
                            "{left_out} steps in a row had to be left out; the last: {error}; lower `schedule.lr`, or set `clip`"
                        );
                        return agree(group, Err(TrainError::Run { path: self.out.clone(), problem }));
                    }
                    let text = format!("{error}; the step is left out");
                    if !matches!(error, TrainError::Elsewhere) && told.insert(text.clone()) {
                        watch.note(&text);
                    }
                }
            }
            if let (Some(ema), None) = (&mut ema, &outcome.problem) {
                ema.follow(entry.step)?;
            }
            let mut line = Line { step: entry.step, scalars: outcome.scalars };
            watch.stepped(&Stepped {
                step: entry.step,
                steps: length.steps,
                loss: line.scalars.get("train/loss").copied(),
                examples: self.recipe.data.batch * self.recipe.data.accumulate * group.ranks(),
                seconds: started.elapsed().as_secs_f64(),
            });
            let due = |every: u64| every > 0 && entry.step.is_multiple_of(every);
            let last = entry.step == length.steps;
            // nothing that has perhaps gone astray takes the place of what was saved before
            let sound = left_out == 0;
            let measures = self.validation.as_ref().filter(|_| first && (last || due(self.recipe.validation.every)));
            if let Some(examples) = measures {
                let measured = self.measured(examples, ema.as_ref(), entry.step);
                if measured.is_err() {
                    // the steps are kept all the same
                    log.iter_mut().try_for_each(|log| log.add(line.clone()))?;
                    store.save(&self.saved(&entry, &optimiser, ema.as_ref())?)?;
                }
                let (scores, notes) = measured?;
                notes.into_iter().filter(|note| told.insert(note.clone())).for_each(|note| watch.note(&note));
                watch.measured(entry.step, &scores);
                line.scalars.extend(scores.values.iter().map(|(name, value)| (format!("val/{name}"), *value)));
                let watched = &self.recipe.validation.watch;
                let value = scores.values.get(watched).copied().ok_or_else(|| scores.unknown(watched))?;
                // nor is it the best of what learns while steps are left out
                if sound && entry.best.is_none_or(|(best, _)| better(watched, value, best)) {
                    entry.best = Some((value, entry.step));
                    folder.write_weights("best.safetensors", self, ema.as_ref(), entry.step)?;
                }
            }
            log.iter_mut().try_for_each(|log| log.add(line.clone()))?;
            stopping = group.any(stop.load(Ordering::Relaxed))?;
            if last || stopping || (sound && due(self.recipe.checkpoint.every)) {
                self.compare(&trained, entry.step, &folder.digest)?;
                if let Some(log) = &log {
                    store.save(&self.saved(&entry, &optimiser, ema.as_ref())?)?;
                    self.draw(log)?;
                }
            }
        }
        if let Some(log) = &log {
            folder.write_weights("last.safetensors", self, ema.as_ref(), entry.step)?;
            self.draw(log)?;
        }
        Ok(Ended { step: entry.step, complete: entry.step >= length.steps, best: entry.best })
    }

    /// Everything that steps need, as new or as it was saved. Nothing is written yet.
    fn begin(&self, resume: bool, length: Length, watch: &mut dyn Watch) -> Result<Begun> {
        let mut note = |text: &str| {
            if self.group.rank() == 0 {
                watch.note(text);
            }
        };
        let folder = Folder::open(self, resume)?;
        let store = Store::new(&self.out, self.recipe.checkpoint.keep);
        let grouped = self.learner.weights().grouped();
        let trained: Vec<_> = grouped.iter().flat_map(|(_, vars)| vars.clone()).collect();
        let mut optimiser = Adam::new(grouped, self.recipe.optimizer)?;
        let mut ema = self.recipe.ema.map(|decay| Ema::new(decay, trained.clone())).transpose()?;
        let entry = Entry { run: folder.digest.clone(), version: VERSION.into(), ..Entry::default() };
        let (saved, notes) = store.latest()?;
        notes.iter().for_each(|text| note(text));
        let Some(saved) = saved else {
            if resume {
                note("no checkpoint is there yet: the run begins anew");
            }
            return Ok(Begun { folder, store, trained, optimiser, ema, entry, fresh: true });
        };
        folder.same_run(&saved.entry)?;
        self.put_back(&saved)?;
        optimiser.load_state(&saved.state)?;
        if let Some(ema) = &mut ema {
            ema.load_state(&saved.state)?;
        }
        match saved.entry.step >= length.steps {
            false => note(&format!("going on from step {} of {}", saved.entry.step, length.steps)),
            true => note(&format!(
                "nothing is left to do: the run has {} steps, and `length` is {}",
                saved.entry.step, length.steps
            )),
        }
        let entry = Entry { digests: Default::default(), ..saved.entry };
        Ok(Begun { folder, store, trained, optimiser, ema, entry, fresh: false })
    }

    /// Refuses to go on where the processes are not at the same step of the same run with the same weights.
    fn compare(&self, trained: &[(String, Var)], step: u64, run: &str) -> Result<()> {
        if self.group.ranks() == 1 {
            return Ok(());
        }
        let mut hash = DefaultHasher::new();
        (fingerprint(trained)?, step, run).hash(&mut hash);
        let same = match self.group.same(hash.finish())? {
            true => Ok(()),
            false => Err(TrainError::Processes {
                problem: format!(
                    "at step {step} the processes differ in recipe, data, checkpoint or weights: all of them have to read the same files, and run the same build on the same kind of processor"
                ),
            }),
        };
        agree(self.group.as_ref(), same)
    }

    /// Puts saved weights and statistics in place of those that there are.
    fn put_back(&self, saved: &Saved) -> Result<()> {
        let weights = self.learner.weights();
        let moving = weights.grouped().into_iter().flat_map(|(_, vars)| vars).chain(weights.statistics());
        for (name, var) in moving {
            let Some(tensor) = saved.weights.get(&name) else {
                return Err(TrainError::State { name, problem: "is missing".into() });
            };
            if tensor.shape() != var.shape() {
                let problem = format!("has shape {:?}, expected {:?}", tensor.dims(), var.dims());
                return Err(TrainError::State { name, problem });
            }
            var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// What moves, as it is now.
    fn saved(&self, entry: &Entry, optimiser: &Adam, ema: Option<&Ema>) -> Result<Saved> {
        let weights = self.learner.weights();
        let moving = weights.grouped().into_iter().flat_map(|(_, vars)| vars).chain(weights.statistics());
        let weights = moving.map(|(name, var)| (name, var.as_detached_tensor())).collect();
        let mut state = optimiser.state()?;
        state.extend(ema.map(Ema::state).unwrap_or_default());
        Ok(Saved { entry: entry.clone(), weights, state })
    }

    /// `curve.png` of the log so far.
    fn draw(&self, log: &Log) -> Result<()> {
        Ok(write_png(self.out.join("curve.png"), &curves(log.lines())?, Overwrite::Replace)?)
    }
}

/// Version that is written down.
pub(crate) const VERSION: &str = concat!("hrseg ", env!("CARGO_PKG_VERSION"));
