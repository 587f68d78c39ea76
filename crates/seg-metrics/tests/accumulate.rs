//! Data sets: means against PySODMetrics, and parts that add up to the whole.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{close, expected, number, pair};
use seg_metrics::{Accumulator, Aggregate, Error, Evaluator, Protocol};

fn names() -> Vec<String> {
    serde_json::from_value(expected()["aggregate_free"]["pysodmetrics"]["over"].clone()).unwrap()
}

fn part<'a>(protocol: &Protocol, names: impl Iterator<Item = &'a String>) -> Accumulator {
    let evaluator = Evaluator::all(protocol.clone());
    let mut all = Accumulator::new(protocol.clone(), evaluator.metrics().to_vec(), false);
    for name in names {
        let (pred, gt) = pair(name);
        all.add(name, &evaluator.measure(pred.plane(), gt.plane()).unwrap()).unwrap();
    }
    all
}

fn whole(protocol: &Protocol) -> Aggregate {
    part(protocol, names().iter()).aggregate().unwrap()
}

#[test]
fn pysodmetrics_aggregate() {
    let (ours, all) = (whole(&Protocol::pysodmetrics()), expected());
    let theirs = &all["aggregate_free"]["pysodmetrics"];
    let at = |pointer: &str| number(theirs.pointer(pointer).unwrap()).unwrap();
    let same = |name: &str, value: f64, tolerance: f64| {
        let found = ours.values[name];
        assert!(close(found, value, tolerance), "{name}: {found}, expected {value}");
    };
    same("mae", at("/mae"), 1e-12);
    same("smeasure.sm", f64::NAN, 0.);
    same("wfm_beta1", at("/wfm_beta1"), 1e-9);
    same("hce", at("/hce"), 1e-12);
    same("context_measure", at("/cm_over_pairs_that_did_not_raise"), 2e-6);
    for (ours, theirs) in [("fmeasure", "fm"), ("emeasure", "em")] {
        for what in ["adp", "mean", "max"] {
            same(&format!("{ours}.{what}"), at(&format!("/{theirs}/{what}")), 1e-12);
        }
    }
    for (handler, values) in theirs["v2_sample"].as_object().unwrap() {
        for (what, value) in values.as_object().unwrap() {
            same(&format!("fmeasure_v2.{handler}.{what}"), number(value).unwrap(), 1e-12);
        }
    }
    for (handler, value) in theirs["v2_overall_binary"].as_object().unwrap() {
        same(&format!("fmeasure_v2.{handler}.overall"), number(value).unwrap(), 1e-12);
    }
    let curves = [("fmeasure.curve", "/fm/curve"), ("emeasure.curve", "/em/curve"), ("fmeasure.precision", "/pr/p")];
    for (ours_at, theirs_at) in curves {
        let expected = theirs.pointer(theirs_at).unwrap().as_array().unwrap();
        for (i, (a, b)) in ours.curves[ours_at].iter().zip(expected).enumerate() {
            assert!(close(*a, number(b).unwrap(), 1e-12), "{ours_at}[{i}]: {a}, expected {b}");
        }
    }
}

#[test]
fn clean_mean_leaves_no_pair_out() {
    let ours = whole(&Protocol::default());
    assert!(ours.values["smeasure.sm"].is_finite());
    // every pair counts: none is undefined in the clean definition
    assert!(!ours.undefined.contains_key("smeasure.sm"));
    // a mask of nothing against nothing has no IoU, and that is told
    assert_eq!(ours.undefined.get("mba"), Some(&3));
    assert!(ours.values["mba"].is_finite());
}

#[test]
fn shards_add_up_to_the_whole() {
    let protocol = Protocol::default();
    let names = names();
    let whole = part(&protocol, names.iter());
    for shards in [2, 3, 9] {
        let mut parts = (0..shards).map(|i| part(&protocol, names.iter().rev().skip(i).step_by(shards)));
        let mut merged = parts.next().unwrap();
        for other in parts {
            // through a file
            let text = serde_json::to_string(&other).unwrap();
            merged.merge(serde_json::from_str(&text).unwrap()).unwrap();
        }
        assert_eq!(merged.len(), names.len());
        assert_eq!(format!("{:?}", merged.aggregate().unwrap()), format!("{:?}", whole.aggregate().unwrap()));
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let names = names();
    let mut one = part(&Protocol::default(), names[..2].iter());
    let again = part(&Protocol::default(), names[1..3].iter());
    assert_eq!(one.merge(again), Err(Error::Twice { stem: names[1].clone() }));
    let other = part(&Protocol::dis(), names[3..4].iter());
    assert!(matches!(one.merge(other), Err(Error::OtherProtocol { .. })));
}

#[test]
fn maxima_by_protocol() {
    let (pysod, mgd) = (whole(&Protocol::pysodmetrics()), whole(&Protocol::mgd_sam2()));
    assert!(mgd.values["fmeasure.max"] > pysod.values["fmeasure.max"]);
    // F of the mean precision and recall is another curve than the mean of the F curves
    let dis = whole(&Protocol::dis());
    let (p, r) = (&dis.curves["fmeasure.precision"], &dis.curves["fmeasure.recall"]);
    let best = p.iter().zip(r).map(|(p, r)| 1.3 * p * r / (0.3 * p + r + 1e-4)).fold(0., f64::max);
    assert_eq!(dis.values["fmeasure.max"], best);
}
