//! What the user sees of a run.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use seg_train::run::{Ended, Run, Scores, Stepped, Watch};

use super::room::Guard;
use crate::cli::common::say;
use crate::cli::progress::bar;

/// Without a terminal a line is printed at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Scores that are printed; the log has all.
const SHOWN: [&str; 8] =
    ["mae", "smeasure.sm", "fmeasure.max", "wfm_beta1", "mask_iou", "J&F-Mean", "J-Mean", "F-Mean"];

/// A bar with time left, loss and throughput on a terminal, lines elsewhere; results at the end on stdout.
pub struct Onlooker {
    /// What a step has many of.
    unit: &'static str,
    bar: Option<ProgressBar>,
    json: bool,
    last_line: Instant,
    /// Running means of the loss and of a step's seconds.
    loss: Option<f64>,
    seconds: Option<f64>,
    scores: Option<(u64, Scores)>,
    /// Of several processes that train together one that is not the first: it says only what it alone knows, after this name.
    silent: Option<String>,
    /// Until the first step is done.
    guard: Option<Guard>,
}

impl Onlooker {
    /// Of a run.
    pub fn new(run: &Run, json: bool) -> Self {
        let bar = bar(run.length().steps);
        let unit = if run.recipe.frames().is_some_and(|frames| frames > 1) { "clips" } else { "images" };
        Self {
            unit,
            bar,
            json,
            last_line: Instant::now(),
            loss: None,
            seconds: None,
            scores: None,
            silent: None,
            guard: None,
        }
    }

    /// Which keeps the guard over the memory until the first step is done.
    pub fn with_guard(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// Of a process that is not the first.
    pub fn silent(name: String) -> Self {
        let last_line = Instant::now();
        Self {
            unit: "",
            bar: None,
            json: false,
            last_line,
            loss: None,
            seconds: None,
            scores: None,
            silent: Some(name),
            guard: None,
        }
    }

    /// Prints a line on stderr without tearing the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            _ if self.silent.is_some() => {}
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// What has come out, on stdout.
    pub fn ended(&mut self, ended: &Ended, out: &Path) -> anyhow::Result<()> {
        use std::io::Write as _;
        if self.silent.is_some() {
            return Ok(());
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let mut stdout = std::io::stdout().lock();
        let values = self.scores.as_ref().map(|(_, scores)| &scores.values);
        if self.json {
            let best = ended.best.map(|(value, step)| serde_json::json!({"value": value, "step": step}));
            let text = serde_json::json!({
                "step": ended.step, "complete": ended.complete, "best": best, "scores": values, "out": out,
            });
            return Ok(writeln!(stdout, "{text}")?);
        }
        if let Some((value, step)) = ended.best {
            writeln!(stdout, "best: {value:.4} at step {step}: {}", out.join("best.safetensors").display())?;
        }
        writeln!(stdout, "step {}: {}", ended.step, out.join("last.safetensors").display())?;
        writeln!(stdout, "curves: {}", out.join("curve.png").display())?;
        if !ended.complete {
            writeln!(stdout, "stopped before the end; --resume goes on")?;
        }
        Ok(())
    }
}

/// A running mean that follows quickly at first.
fn follow(mean: &mut Option<f64>, value: f64, step: u64) -> f64 {
    let new = match *mean {
        None => value,
        Some(mean) => mean + (value - mean) / (step.clamp(2, 50) as f64),
    };
    *mean = Some(new);
    new
}

/// Seconds as a person says them.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

impl Watch for Onlooker {
    fn note(&mut self, text: &str) {
        match &self.silent {
            Some(name) => say(format_args!("{name}: {text}")),
            None => self.say(text),
        }
    }

    fn stepped(&mut self, step: &Stepped) {
        self.guard = None;
        let seconds = follow(&mut self.seconds, step.seconds, step.step);
        if let Some(loss) = step.loss {
            follow(&mut self.loss, loss, step.step);
        }
        let loss = self.loss.map_or_else(|| "-".into(), |loss| format!("{loss:.4}"));
        let left = clock((step.steps - step.step) as f64 * seconds);
        let text = format!("loss {loss}, {:.2} {}/s, {left} left", step.examples as f64 / seconds.max(1e-9), self.unit);
        match &self.bar {
            Some(bar) => {
                bar.set_position(step.step);
                bar.set_message(text);
            }
            None if self.silent.is_none() && self.last_line.elapsed() >= LINE_EVERY => {
                say(format_args!("step {} of {}: {text}", step.step, step.steps));
                self.last_line = Instant::now();
            }
            None => {}
        }
    }

    fn measured(&mut self, step: u64, scores: &Scores) {
        let value = |name: &&str| Some(format!("{name} {:.4}", scores.values.get(*name)?));
        let own = scores.values.keys().map(String::as_str).filter(|name| name.ends_with(".biou"));
        let shown: Vec<&str> = SHOWN.into_iter().chain(own).collect();
        let values = shown.iter().filter_map(value).collect::<Vec<_>>().join(", ");
        self.say(&format!("step {step}: {} held-out examples: {values}", scores.examples));
        self.scores = Some((step, scores.clone()));
    }
}
