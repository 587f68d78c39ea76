//! What a run would be, before it is one.

use std::io::Write as _;
use std::time::Instant;

use seg_data::training::{Place, Source};
use seg_train::run::Run;

use super::watch::clock;
use crate::cli::memory::peak_rss_bytes;
use crate::cli::{Common, Outcome};

/// Prints data, groups, schedule, steps, and what the first step has taken.
pub fn show(run: &Run, common: &Common) -> anyhow::Result<Outcome> {
    let length = run.length();
    let recipe = &run.recipe;
    let rate = |step: u64| recipe.schedule.rate(step, length);
    let groups: Vec<(String, usize, u64, f64, f64)> = run
        .learner
        .weights()
        .grouped()
        .into_iter()
        .map(|(group, vars)| {
            let numbers = vars.iter().map(|(_, var)| var.elem_count() as u64).sum();
            (group.name.to_string(), vars.len(), numbers, group.lr_factor, group.weight_decay)
        })
        .collect();
    let frozen = run.learner.weights().frozen();
    let frozen = (frozen.len(), frozen.iter().map(|(_, t)| t.elem_count() as u64).sum::<u64>());
    let started = Instant::now();
    let proof = run.prove()?;
    let seconds = started.elapsed().as_secs_f64() * recipe.data.accumulate as f64;
    let (memory, total) = (peak_rss_bytes(), seconds * length.steps as f64);
    let processes = run.group.ranks();
    if run.group.rank() > 0 {
        return Ok(Outcome::Done);
    }
    let mut out = std::io::stdout().lock();
    if common.json {
        let groups: Vec<_> = groups
            .iter()
            .map(|(name, weights, numbers, lr_factor, decay)| {
                serde_json::json!({"name": name, "weights": weights, "numbers": numbers, "lr": rate(0) * lr_factor, "weight_decay": decay})
            })
            .collect();
        let plan = serde_json::json!({
            "system": recipe.system, "examples": run.data.len(), "steps": length.steps, "steps_per_epoch": length.steps_per_epoch,
            "processes": processes,
            "groups": groups, "frozen": {"weights": frozen.0, "numbers": frozen.1}, "gradients": proof.reached,
            "seconds_per_step": seconds, "seconds": total, "peak_rss_bytes": memory,
        });
        writeln!(out, "{plan}")?;
        return Ok(Outcome::Done);
    }
    let examples = run.data.len().map_or_else(|| "endless".into(), |len| format!("{len} examples"));
    writeln!(out, "system     {}", recipe.system.as_str())?;
    let batch = run.data.len().map_or(recipe.data.batch, |len| recipe.data.batch.min(len as usize));
    let together = if processes > 1 { format!(" in each of {processes} processes") } else { String::new() };
    writeln!(out, "data       {examples}, batches of {batch}{together}")?;
    if let Some(note) = prompts_unseen(run) {
        writeln!(out, "           {note}")?;
    }
    if let Some(validation) = &run.validation {
        let count = validation.len().unwrap_or(u64::MAX).min(recipe.validation.examples);
        writeln!(out, "held out   {count} examples, watched: {}", recipe.validation.watch)?;
    }
    for (name, weights, numbers, lr_factor, decay) in &groups {
        let lr = rate(0) * lr_factor;
        writeln!(
            out,
            "moves      {name}: {weights} weights, {} numbers, rate {lr:.1e}, decay {decay:.1e}",
            grouped(*numbers)
        )?;
    }
    writeln!(out, "stays      {} weights, {} numbers", frozen.0, grouped(frozen.1))?;
    writeln!(out, "gradients  reach {} of the weights that move, none of those that stay", proof.reached)?;
    let last = length.steps.saturating_sub(1);
    let rates =
        [0, length.steps / 4, length.steps / 2, length.steps * 3 / 4, last].map(|step| format!("{:.1e}", rate(step)));
    writeln!(
        out,
        "schedule   {} steps, {} to a pass; rate {}",
        length.steps,
        length.steps_per_epoch,
        rates.join(" → ")
    )?;
    if let Some(note) = never_at_its_height(run) {
        writeln!(out, "           {note}")?;
    }
    writeln!(out, "a step     {seconds:.2} s here (measured once, no optimiser); the run about {}", clock(total))?;
    if let Some(memory) = memory {
        let state = 2 * 4 * groups.iter().map(|group| group.2).sum::<u64>();
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        writeln!(
            out,
            "memory     {:.2} GiB at its peak, and {:.2} GiB for the optimiser's state",
            gib(memory),
            gib(state)
        )?;
    }
    Ok(Outcome::Done)
}

/// Where the data says which of several objects is meant, and the system is not told: what it should learn cannot be seen in the picture.
pub fn prompts_unseen(run: &Run) -> Option<String> {
    let place = Place { seed: run.recipe.seed, epoch: 0, index: 0 };
    let Source::Pictures(pictures) = &run.data else { return None };
    let prompted = pictures.example(place).ok()?.prompt.is_some();
    let system = run.recipe.system.as_str();
    (prompted && !run.learner.takes_prompts())
        .then(|| format!("the data has prompts that say which object is meant; {system} does not see them"))
}

/// Where the run ends before the rate has risen to its height.
pub fn never_at_its_height(run: &Run) -> Option<String> {
    let (steps, warm_up) = (run.length().steps, run.recipe.schedule.warm_up);
    let text = format!("schedule.warm_up is {warm_up}, and the run has {steps} steps: it never reaches the full rate");
    (warm_up > steps).then_some(text)
}

/// What is told of the weights that a run begins with.
pub fn starts_from(run: &Run) -> Vec<String> {
    let Some(begun) = run.learner.begun() else { return Vec::new() };
    let mut lines = vec![format!(
        "{} weights from the file, {} new ones at random",
        begun.from_file.len() + begun.widened.len(),
        begun.fresh.len()
    )];
    if !begun.widened.is_empty() {
        let names = begun.widened.iter().cloned().collect::<Vec<_>>().join(", ");
        lines.push(format!("more inputs than the file's, which begin at zero: {names}"));
    }
    lines
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
