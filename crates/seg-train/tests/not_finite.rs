//! Numbers that are not finite move nothing, and take the place of nothing.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use candle_core::{Device, Tensor};
use seg_checkpoints::TrainingWeights;
use seg_data::training::Source;
use seg_data::training::procedural::Procedural;
use seg_data::training::transform::Prepared;
use seg_train::Result;
use seg_train::init::Begun;
use seg_train::learners::{Learner, Losses, learner};
use seg_train::recipe::Recipe;
use seg_train::run::{Run, Scores, Stepped, Watch};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const RECIPE: &str = r#"
system = "is-net"
model = { image_size = 64, divide = 16 }
data = { batch = 2 }
optimizer = { decoupled = false }
schedule = { lr = 1e-3, curve = { kind = "constant" } }
checkpoint = { every = 1, keep = 2 }
probe = { without_gradient = ["*.conv_s1.bias"] }
"#;

/// Whose loss is no number in some of the steps.
struct Sick {
    well: Arc<dyn Learner>,
    /// The proof, before the first step, is the first.
    asked: AtomicU64,
    sick: Range<u64>,
}

impl Learner for Sick {
    fn weights(&self) -> &TrainingWeights {
        self.well.weights()
    }

    fn begun(&self) -> Option<Begun> {
        self.well.begun()
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        self.well.inputs(example)
    }

    fn image_size(&self) -> usize {
        self.well.image_size()
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let step = self.asked.fetch_add(1, Ordering::Relaxed);
        let Losses { total, parts } = self.well.loss(inputs)?;
        let total = if self.sick.contains(&step) { (total * f64::NAN)? } else { total };
        Ok(Losses { total, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        self.well.predict(inputs)
    }
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Watch for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn stepped(&mut self, _: &Stepped) {}

    fn measured(&mut self, _: u64, _: &Scores) {}
}

fn train(out: &Path, steps: u64, sick: Range<u64>) -> (Result<u64>, Vec<String>) {
    let recipe = Recipe::parse(RECIPE, "recipe", &[format!("length={{steps={steps}}}")]).unwrap();
    let well = learner(&recipe, &Device::Cpu).unwrap();
    let sick = Arc::new(Sick { well, asked: AtomicU64::new(0), sick });
    let spec = out.with_file_name("spec.toml");
    std::fs::write(&spec, "size = 48\n[kinds]\ndisc = 1\n").unwrap();
    let data = Source::Pictures(Arc::new(Procedural::open(spec.to_str(), None).unwrap()));
    let run = Run::alone(recipe, sick, data, None, out.to_owned()).unwrap();
    let mut notes = Notes::default();
    let ended = run.train(false, &AtomicBool::new(false), &mut notes);
    (ended.map(|ended| ended.step), notes.0)
}

fn checkpoints(out: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(out.join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_batch_that_is_no_number_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [out, to_it] = ["run", "to_it"].map(|name| dir.path().join(name));
    let (ended, notes) = train(&out, 5, 3..4);
    assert_eq!(ended.unwrap(), 5);
    let told: Vec<_> = notes.iter().filter(|note| note.contains("left out")).collect();
    assert!(
        told.len() == 1 && told[0].starts_with("step 3: the loss is NaN") && told[0].contains("examples: "),
        "{notes:?}"
    );
    assert_eq!(checkpoints(&out), ["00000004", "00000005"]);
    let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    let with_loss: Vec<bool> = log.lines().map(|line| line.contains("\"train/loss\"")).collect();
    assert_eq!(with_loss, [true, true, false, true, true]);
    // the last step is saved whatever it was
    train(&to_it, 3, 3..4).0.unwrap();
    let weights = |step: u64| std::fs::read(to_it.join(format!("checkpoints/{step:08}/weights.safetensors"))).unwrap();
    assert!(weights(2) == weights(3));
}

#[test]
fn what_has_gone_astray_takes_the_place_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let (ended, notes) = train(&out, 100, 4..200);
    let problem = ended.unwrap_err().to_string();
    assert!(problem.contains("11 steps in a row") && problem.contains("step 14: the loss is NaN"), "{problem}");
    assert_eq!(notes.iter().filter(|note| note.contains("the step is left out")).count(), 10);
    assert_eq!(checkpoints(&out), ["00000002", "00000003"]);
}
