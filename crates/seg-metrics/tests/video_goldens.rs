//! J, F and their statistics against davis2017 and the SA-V benchmark.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use common::{close, folder, number};
use seg_metrics::Plane;
use seg_metrics::video::{DavisSequence, DavisSummary, DavisTask, Decay, ObjectScores, SavVideo, Statistics};
use serde_json::Value;

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("davis/expected.json")).unwrap()).unwrap()
}

/// A label image: the palette's indices.
struct Labels {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl Labels {
    fn plane(&self) -> Plane<'_> {
        Plane::new(&self.data, self.width, self.height).unwrap()
    }
}

/// Ground truth and prediction of every frame of the golden sequence.
fn frames() -> Vec<(Labels, Labels)> {
    let load = |what: &str, name: &str| {
        let file = std::fs::File::open(folder().join("davis/two_objects").join(what).join(name)).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        let mut data = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut data).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Indexed, png::BitDepth::Eight));
        Labels { data, width: info.width as usize, height: info.height as usize }
    };
    (0..24).map(|i| format!("{i:05}.png")).map(|name| (load("gt", &name), load("pred", &name))).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| number(v).unwrap()).collect()
}

fn assert_all_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!(close(*ours, *theirs, 1e-12), "{what}, {i}: {ours}, expected {theirs}");
    }
}

fn assert_statistics(ours: Statistics, theirs: &Value, what: &str) {
    let theirs = ["mean", "recall", "decay"].map(|key| number(&theirs[key]).unwrap());
    assert_all_close(&[ours.mean, ours.recall, ours.decay], &theirs, what);
}

#[test]
fn davis() {
    let expected = &expected()["sequences"]["two_objects"];
    for (task, key) in [(DavisTask::SemiSupervised, "semi-supervised"), (DavisTask::Unsupervised, "unsupervised")] {
        let mut sequence = DavisSequence::new(task);
        for (gt, pred) in frames() {
            sequence.add(pred.plane(), gt.plane()).unwrap();
        }
        let objects = sequence.finish();
        let theirs = &expected[key];
        // the reference gives them in the order of the proposals
        let mut by_proposal = objects.clone();
        by_proposal.sort_by_key(|o| o.proposal);
        for (i, ObjectScores { j, f, .. }) in by_proposal.iter().enumerate() {
            assert_all_close(j, &numbers(&theirs["J"][i]), &format!("{key}, J of {i}"));
            assert_all_close(f, &numbers(&theirs["F"][i]), &format!("{key}, F of {i}"));
            assert_statistics(Statistics::new(j, Decay::Exact), &theirs["J_stats"][i], &format!("{key}, J of {i}"));
            assert_statistics(Statistics::new(f, Decay::Exact), &theirs["F_stats"][i], &format!("{key}, F of {i}"));
        }
        let DavisSummary { j, f, jf } = DavisSummary::new(&objects, Decay::Exact);
        let ours = [j.mean, j.recall, j.decay, f.mean, f.recall, f.decay, jf];
        let keys = ["J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "JF_mean"];
        assert_all_close(&ours, &keys.map(|k| number(&theirs[k]).unwrap()), key);
    }
}

#[test]
fn sav() {
    let theirs = &expected()["sequences"]["two_objects"]["sav_benchmark_skip_first_last"];
    let frames = frames();
    let mut video = SavVideo::new();
    for (gt, pred) in &frames[1..frames.len() - 1] {
        video.add(pred.plane(), gt.plane()).unwrap();
    }
    let objects = video.finish();
    assert_eq!(objects.len(), theirs["J_percent"].as_object().unwrap().len());
    for (label, object) in objects {
        let label = label.to_string();
        assert_all_close(&object.j, &numbers(&theirs["per_frame_J"][&label]), &label);
        assert_all_close(&object.f, &numbers(&theirs["per_frame_F"][&label]), &label);
        assert!(close(object.j_percent(), number(&theirs["J_percent"][&label]).unwrap(), 1e-10));
        assert!(close(object.f_percent(), number(&theirs["F_percent"][&label]).unwrap(), 1e-10));
    }
}

#[test]
fn statistics() {
    let expected = expected();
    let mut wrapped = 0;
    for (n, theirs) in expected["statistics_of_vectors"].as_object().unwrap() {
        let values = numbers(&theirs["values"]);
        assert_statistics(Statistics::new(&values, Decay::WrappingBytes), theirs, n);
        let exact = number(&theirs["decay_without_uint8_wrap"]).unwrap();
        assert!(close(Statistics::new(&values, Decay::Exact).decay, exact, 1e-12), "{n}");
        wrapped += usize::from(number(&theirs["decay"]).unwrap().is_nan());
    }
    assert!(wrapped > 0);
}

#[test]
fn wrong_labels_and_sizes_are_refused() {
    let plane = |data: &'static [u8]| Plane::new(data, 2, 2).unwrap();
    let mut sequence = DavisSequence::new(DavisTask::SemiSupervised);
    sequence.add(plane(&[0, 0, 1, 0]), plane(&[1, 0, 255, 0])).unwrap();
    let error = sequence.add(plane(&[0, 2, 1, 0]), plane(&[1, 0, 0, 0])).unwrap_err();
    assert_eq!(error.to_string(), "the prediction has label 2, the highest allowed here is 1");
    assert!(sequence.add(plane(&[0, 255, 1, 0]), plane(&[1, 0, 0, 0])).is_err());
    let small = Plane::new(&[0, 1], 2, 1).unwrap();
    assert!(sequence.add(small, small).is_err());
    let mut sequence = DavisSequence::new(DavisTask::Unsupervised);
    assert!(sequence.add(plane(&[21, 0, 0, 0]), plane(&[1, 0, 0, 0])).is_err());
}
