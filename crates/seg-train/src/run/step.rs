//! One step: gradients of its batches, checked before anything moves.

use super::{Feed, Run, Watch};
use crate::optim::{Adam, Gradients, clip_factor};
use crate::parallel::{average_moves, sum_gradients};
use crate::{Result, TrainError};
use candle_core::{DType, Tensor, Var};
use seg_ops::AllReduce;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a step has given.
pub(super) struct Outcome {
    /// Means over the step's batches, those of all processes, by their names in the log.
    pub scalars: BTreeMap<String, f64>,
    /// Why nothing was moved.
    pub problem: Option<TrainError>,
}

/// The step number `step`, counted from 0. Where a loss or the gradients' norm is not finite, weights and running statistics stay as they are, in all processes.
pub(super) fn step(
    run: &Run,
    feed: &mut Feed,
    optimiser: &mut Adam,
    trained: &[(String, Var)],
    lr: f64,
    step: u64,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let vars = || trained.iter().map(|(_, var)| var);
    let group = run.group.as_ref();
    let passes = run.recipe.data.accumulate;
    // then a forward pass asks all processes for sums
    let norms_together = run.recipe.sync_batch_norm && group.ranks() > 1;
    let statistics: Vec<(Var, Tensor)> = run
        .learner
        .weights()
        .statistics()
        .into_iter()
        .map(|(_, var)| Ok((var.clone(), var.as_tensor().copy()?)))
        .collect::<Result<_>>()?;
    let mut gradients = Gradients::default();
    let mut scalars: BTreeMap<String, f64> = BTreeMap::from([("train/lr".to_owned(), lr)]);
    let mut names = Vec::new();
    let refused = |what: &str, value: f64, names: &[String]| TrainError::NotFinite {
        step: step + 1,
        what: what.into(),
        value,
        examples: names.join(", "),
    };
    let mut problem = None;
    for _ in 0..passes {
        let mut notes = Vec::new();
        let batch = feed.next(&mut notes)?;
        notes.extend(run.embeddings.iter().flat_map(|cache| cache.notes()));
        notes.iter().for_each(|note| watch.note(note));
        let few = batch.lost > 0;
        names.extend(batch.names);
        if batch.inputs.is_empty() {
            problem = Some(TrainError::Run {
                path: "the data".into(),
                problem: "no example of the batch can be used".into(),
            });
        }
        if given_up(&mut problem, group)? {
            break;
        }
        let losses = match run.learner.loss(&batch.inputs) {
            Ok(losses) => Some(losses),
            // what is left of a batch may be too little for a batch norm
            Err(error) if few && !norms_together => {
                let left = format!("only {} can be used of a batch, which is too little: {error}", names.join(", "));
                problem = Some(TrainError::Run { path: "the data".into(), problem: left });
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(losses) = &losses {
            let total = number(&losses.total)?;
            if !total.is_finite() {
                problem = Some(refused("the loss", total, &names));
            }
            *scalars.entry("train/loss".into()).or_default() += total / passes as f64;
            for (name, part) in &losses.parts {
                *scalars.entry(format!("train/loss_{name}")).or_default() += number(part)? / passes as f64;
            }
        }
        if given_up(&mut problem, group)? {
            break;
        }
        if let Some(losses) = losses {
            gradients.add(&losses.total.backward()?, vars())?;
        }
    }
    if problem.is_none() {
        sum_gradients(&mut gradients, trained, group)?;
        let parts = (passes * group.ranks()) as f64;
        let norm = gradients.norm(vars())? / parts;
        if norm.is_finite() {
            scalars.insert("train/norm".into(), norm);
            if norm == 0. && group.rank() == 0 {
                watch.note(&format!("step {}: all gradients are zero: nothing is learned", step + 1));
            }
            let factor = run.recipe.clip.map_or(1., |most| clip_factor(norm, most));
            optimiser.step(&gradients, lr, factor / parts)?;
            if run.recipe.batch_norm_trains && !norms_together {
                average_moves(&statistics, group)?;
            }
            average(&mut scalars, group)?;
        } else {
            problem = Some(refused("the norm of the gradients", norm, &names));
        }
    }
    if problem.is_some() {
        for (var, before) in &statistics {
            var.set(before)?;
        }
        scalars.remove("train/loss");
        scalars.retain(|_, value| value.is_finite());
    }
    Ok(Outcome { scalars, problem })
}

/// Whether any process has a problem with the step: then all leave it out.
fn given_up(problem: &mut Option<TrainError>, group: &dyn AllReduce) -> Result<bool> {
    let given_up = group.any(problem.is_some())?;
    if given_up {
        problem.get_or_insert(TrainError::Elsewhere);
    }
    Ok(given_up)
}

/// Means of the losses over all processes; of their parts only where all have the same ones.
fn average(scalars: &mut BTreeMap<String, f64>, group: &dyn AllReduce) -> Result<()> {
    if group.ranks() == 1 {
        return Ok(());
    }
    let mut losses: Vec<(&String, &mut f64)> =
        scalars.iter_mut().filter(|(name, _)| name.starts_with("train/loss")).collect();
    let mut names = DefaultHasher::new();
    losses.iter().for_each(|(name, _)| name.hash(&mut names));
    if !group.same(names.finish())? {
        losses.retain(|(name, _)| *name == "train/loss");
    }
    let sums = group.sum_numbers(&losses.iter().map(|(_, value)| **value).collect::<Vec<_>>())?;
    losses.into_iter().zip(sums).for_each(|((_, value), sum)| *value = sum / group.ranks() as f64);
    Ok(())
}

/// A scalar, as a number.
fn number(scalar: &Tensor) -> Result<f64> {
    Ok(scalar.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}
