//! The loop in several processes, played by threads.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use candle_core::Device;
use seg_data::training::Source;
use seg_data::training::procedural::Procedural;
use seg_ops::{AllReduce, Alone, Threads};
use seg_train::learners::learner_among;
use seg_train::recipe::Recipe;
use seg_train::run::{Run, Scores, Stepped, Watch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RECIPE: &str = include_str!("toy.toml");

/// Four steps of a constant rate, every one of them saved.
const HERE: [&str; 4] =
    ["length={steps=4}", "schedule.curve={kind=\"constant\"}", "checkpoint.every=1", "sync_batch_norm=false"];

/// Stops behind a step, if it is told to; counts what is said.
#[derive(Default)]
struct Onlooker {
    stop_behind: Option<u64>,
    stop: Arc<AtomicBool>,
    notes: Vec<String>,
}

impl Watch for Onlooker {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn stepped(&mut self, step: &Stepped) {
        if self.stop_behind == Some(step.step) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn measured(&mut self, _: u64, _: &Scores) {}
}

/// A folder with a specification of small pictures.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("spec.toml"), "size = 48\n[kinds]\ndisc = 1\n").unwrap();
    dir
}

/// Of a process: the step at which it ended, all weights, what was said.
type Trained = (u64, BTreeMap<String, Vec<f32>>, Vec<String>);

/// Trains as one process of `group`.
fn train(
    out: &Path,
    changes: &[&str],
    group: Arc<dyn AllReduce>,
    stop_behind: Option<u64>,
    resume: bool,
) -> seg_train::Result<Trained> {
    let changes: Vec<String> = HERE.iter().chain(changes).map(|change| (*change).to_owned()).collect();
    let recipe = Recipe::parse(RECIPE, "recipe", &changes)?;
    let learner = learner_among(&recipe, &Device::Cpu, &group)?;
    let data = Arc::new(Procedural::open(out.with_file_name("spec.toml").to_str(), None)?);
    let [transforms, plain] = recipe.transforms(learner.image_size())?;
    let data = Source::Pictures(data);
    let run =
        Run { recipe, learner, data, transforms, plain, validation: None, embeddings: None, out: out.into(), group };
    let mut onlooker = Onlooker { stop_behind, ..Onlooker::default() };
    let stop = onlooker.stop.clone();
    let ended = run.train(resume, &stop, &mut onlooker)?;
    let state = run.learner.weights().state().into_iter();
    let state = state.map(|(name, t)| (name, t.flatten_all().unwrap().to_vec1::<f32>().unwrap())).collect();
    Ok((ended.step, state, onlooker.notes))
}

/// All of `ranks` threads; the one numbered 1 is told to stop.
fn together(
    out: &Path,
    changes: &'static [&'static str],
    ranks: usize,
    stop: Option<u64>,
    resume: bool,
) -> Vec<Trained> {
    let runs: Vec<_> = Threads::group(ranks)
        .into_iter()
        .map(|group| {
            let (out, stop) = (out.to_path_buf(), stop.filter(|_| group.rank() == 1));
            std::thread::spawn(move || train(&out, changes, group, stop, resume).unwrap())
        })
        .collect();
    runs.into_iter().map(|run| run.join().unwrap()).collect()
}

#[test]
fn three_are_one_with_three_times_the_batch_and_stop_together() {
    let dir = folder();
    let out = |name: &str| dir.path().join(name);
    let synced = &["sync_batch_norm=true"];
    let three = together(&out("three"), synced, 3, None, false);
    let (_, one, _) = train(&out("one"), &["data.batch=6"], Arc::new(Alone), None, false).unwrap();
    let mut furthest = 0f32;
    for (name, values) in &one {
        for (a, b) in values.iter().zip(&three[0].1[name]) {
            furthest = furthest.max((a - b).abs());
        }
    }
    assert!(furthest < 5e-6, "weights differ by {furthest}");
    // all have the same bits, and the first one alone says what all know
    assert!(three[1..].iter().all(|(step, state, notes)| *step == 4 && *state == three[0].1 && notes.is_empty()));
    assert!(three[0].2.iter().any(|note| note.contains("gradients reach")));
    // one is told to stop: all do, behind the same step, and go on to the same bits
    let stopped = together(&out("stopped"), synced, 3, Some(2), false);
    assert!(stopped.iter().all(|(step, ..)| *step == 2));
    let resumed = together(&out("stopped"), synced, 3, None, true);
    assert_eq!(resumed[2].1, three[0].1);
    // other numbers of processes would be other runs
    let text = train(&out("three"), synced, Arc::new(Alone), None, true).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("made by 3 processes, not by 1"), "{text}");
}

#[test]
fn norms_that_are_not_synchronised_have_the_same_running_statistics() {
    let dir = folder();
    let both = together(&dir.path().join("run"), &["length={steps=2}"], 2, None, false);
    assert_eq!(both[0].1, both[1].1);
}
