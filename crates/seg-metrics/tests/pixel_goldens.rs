//! MAE, MSE, F, weighted F, S, E, the ratios, the context measure and the size-invariant variants against the toolkits.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{close, expected, flatten, number, pair};
use seg_metrics::{Evaluator, Protocol, Scores};
use serde_json::Value;

fn measure(protocol: &str, name: &str) -> Result<Scores, seg_metrics::Error> {
    let (pred, gt) = pair(name);
    Evaluator::all(Protocol::named(protocol).unwrap()).measure(pred.plane(), gt.plane())
}

/// Pairs whose block `toolkit` has numbers.
fn blocks(toolkit: &str) -> Vec<(String, Value)> {
    let all = expected();
    let pairs = all["pairs"].as_object().unwrap();
    let usable = |block: &Value| block.is_object() && block.get("error").is_none();
    pairs.iter().filter(|(_, p)| usable(&p[toolkit])).map(|(name, p)| (name.clone(), p[toolkit].clone())).collect()
}

fn compare(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64, bad: &mut Vec<String>) {
    if ours.len() != theirs.len() {
        bad.push(format!("{what}: {} values, expected {}", ours.len(), theirs.len()));
    }
    if let Some((i, (a, b))) = ours.iter().zip(theirs).enumerate().find(|(_, (a, b))| !close(**a, **b, tolerance)) {
        bad.push(format!("{what}[{i}]: {a}, expected {b}"));
    }
}

/// Compares the named results of one toolkit: (its name, ours, tolerance).
fn check(toolkit: &str, protocol: &str, names: &[(&str, &str, f64)]) {
    let (mut bad, mut compared) = (Vec::new(), 0);
    for (name, block) in blocks(toolkit) {
        // blocks of notes alone; and PIL's resize is for whoever decodes
        if !names.iter().any(|(at, ..)| block.pointer(at).is_some())
            || (protocol == "mvanet" && name.starts_with("s12"))
        {
            continue;
        }
        let scores = measure(protocol, &name).unwrap();
        for (at, ours, tolerance) in names {
            let theirs = match block.pointer(at) {
                Some(Value::Array(list)) => list.iter().filter_map(number).collect(),
                Some(value) => number(value).into_iter().collect::<Vec<_>>(),
                None => continue,
            };
            if theirs.is_empty() {
                continue;
            }
            let found = scores.curve(ours).map(<[f64]>::to_vec).or(scores.value(ours).map(|v| vec![v]));
            compare(&format!("{name} {ours}"), &found.unwrap_or_default(), &theirs, *tolerance, &mut bad);
            compared += 1;
        }
    }
    assert!(bad.is_empty(), "{} of {compared}:\n{}", bad.len(), bad.join("\n"));
    assert!(compared > 8 * names.len(), "only {compared} values compared");
}

#[test]
fn pysodmetrics() {
    let tolerance = |name: &str| match name.split(['.', '_']).next() {
        Some("smeasure") => 1e-10,
        Some("wfm") => 1e-9,
        Some("context") => 1e-10,
        _ => 1e-12,
    };
    let (mut bad, mut compared) = (Vec::new(), 0);
    for (name, block) in blocks("pysodmetrics") {
        let scores = measure("pysodmetrics", &name).unwrap();
        let mut theirs = Vec::new();
        flatten("", &block, &mut theirs);
        for (key, theirs) in theirs {
            // intermediate values, and what has a test of its own
            if ["prep.", "msiou.", "hce", "size_invariance."].iter().any(|p| key.starts_with(p)) {
                continue;
            }
            let ours = scores.curve(&key).map(<[f64]>::to_vec).or(scores.value(&key).map(|v| vec![v]));
            compare(&format!("{name} {key}"), &ours.unwrap_or_default(), &theirs, tolerance(&key), &mut bad);
            compared += 1;
        }
    }
    assert!(bad.is_empty(), "{} of {compared}:\n{}", bad.len(), bad.join("\n"));
    assert!(compared > 500, "only {compared} values compared");
}

#[test]
fn size_invariant_variants() {
    let (mut bad, mut compared) = (Vec::new(), 0);
    for (name, block) in blocks("pysodmetrics") {
        let scores = measure("pysodmetrics", &name).unwrap();
        let mut theirs = Vec::new();
        flatten("size_invariance", &block["size_invariance"], &mut theirs);
        for (key, theirs) in theirs {
            let (ours, theirs) = match key.split_once("per_target_") {
                // ours are the means over the targets
                Some((before, what)) => (format!("{before}{what}"), theirs.iter().sum::<f64>() / theirs.len() as f64),
                None => (key, theirs[0]),
            };
            compare(
                &format!("{name} {ours}"),
                &scores.value(&ours).into_iter().collect::<Vec<_>>(),
                &[theirs],
                1e-12,
                &mut bad,
            );
            compared += 1;
        }
    }
    assert!(bad.is_empty(), "{} of {compared}:\n{}", bad.len(), bad.join("\n"));
    assert!(compared > 300, "only {compared} values compared");
}

#[test]
fn preparation_agrees() {
    for (name, block) in blocks("pysodmetrics") {
        let (pred, gt) = pair(&name);
        let prepared = seg_metrics::Prepared::new(pred.plane(), gt.plane(), &Protocol::pysodmetrics()).unwrap();
        let (quantised, gt) = (prepared.quantised(), prepared.foreground());
        let mut histograms = [[0u64; 256]; 2];
        for (&p, &t) in pred.plane().data().iter().zip(gt.plane().data()) {
            histograms[usize::from(gt.holds(t))][usize::from(quantised[usize::from(p)])] += 1;
        }
        for (side, key) in ["quantised_histogram_bg", "quantised_histogram_fg"].into_iter().enumerate() {
            let theirs: Vec<u64> = serde_json::from_value(block["prep"][key].clone()).unwrap();
            assert_eq!(histograms[side].to_vec(), theirs, "{name} {key}");
        }
    }
}

#[test]
fn birefnet() {
    check(
        "birefnet",
        "birefnet",
        &[
            ("/mae", "mae", 1e-12),
            ("/mse", "mse", 1e-12),
            ("/smeasure", "smeasure.sm", 1e-10),
            ("/emeasure/adp", "emeasure.adp", 1e-12),
            ("/emeasure/mean", "emeasure.mean", 1e-12),
            ("/emeasure/max", "emeasure.max", 1e-12),
            ("/fmeasure/adp", "fmeasure.adp", 1e-12),
            ("/fmeasure/mean", "fmeasure.mean", 1e-12),
            ("/fmeasure/max", "fmeasure.max", 1e-12),
            ("/wfm", "wfm_beta1", 1e-9),
            ("/hce", "hce", 0.),
            ("/mba", "mba", 1e-12),
            ("/biou/curve", "biou.curve", 1e-12),
            ("/biou/mean", "biou.mean", 1e-12),
            ("/biou/max", "biou.max", 1e-12),
        ],
    );
}

#[test]
fn mgd_sam2() {
    check(
        "mgd_sam2",
        "mgd-sam2",
        &[
            ("/mae", "mae", 1e-12),
            ("/smeasure", "smeasure.sm", 1e-10),
            ("/emeasure/adp", "emeasure.adp", 1e-12),
            ("/emeasure/mean", "emeasure.mean", 1e-12),
            ("/fmeasure_beta0.3/adp", "fmeasure.adp", 1e-12),
            ("/fmeasure_beta0.3/mean", "fmeasure.mean", 1e-12),
            ("/fmeasure_beta0.3/max", "fmeasure.max", 1e-12),
            ("/wfm_default_beta0.3", "wfm_beta0.3", 1e-9),
            ("/ber_thr125/pos_err_percent", "pos_err_percent", 1e-12),
            ("/ber_thr125/neg_err_percent", "neg_err_percent", 1e-12),
            ("/ber_thr125/acc", "acc", 1e-12),
            ("/dice_coeff", "dice_coeff", 1e-12),
            ("/iou_soft_eps1e-6", "iou_soft", 1e-12),
        ],
    );
}

#[test]
fn mgd_sam2_with_beta_1() {
    let mut protocol = Protocol::mgd_sam2();
    protocol.fmeasure.beta2 = 1.;
    for (name, block) in blocks("mgd_sam2").into_iter().filter(|(_, b)| b.get("mae").is_some()) {
        let (pred, gt) = pair(&name);
        let scores = Evaluator::all(protocol.clone()).measure(pred.plane(), gt.plane()).unwrap();
        for what in ["adp", "mean", "max"] {
            let (ours, theirs) =
                (scores.value(&format!("fmeasure.{what}")).unwrap(), &block["fmeasure_default_beta1"][what]);
            assert!(close(ours, number(theirs).unwrap(), 1e-12), "{name} {what}: {ours}, expected {theirs}");
        }
    }
}

#[test]
fn mvanet() {
    check(
        "mvanet",
        "mvanet",
        &[
            ("/mae", "mae", 1e-12),
            // the toolkit averages the truth of each part in float32
            ("/smeasure", "smeasure.sm", 1e-7),
            ("/emeasure_adaptive", "emeasure.adp", 1e-12),
            ("/wfm", "wfm_beta1", 1e-9),
            ("/fmeasure_255/max_f", "fmeasure.max", 1e-12),
            ("/fmeasure_255/adp_f", "fmeasure.adp", 1e-12),
            ("/dice_soft", "dice_soft", 1e-12),
            ("/iou", "iou", 1e-12),
            ("/ber", "ber", 1e-12),
            ("/acc", "acc", 1e-12),
        ],
    );
}

#[test]
fn saliency_toolbox() {
    check(
        "saliency_toolbox",
        "saliency_toolbox",
        &[
            ("/mae", "mae", 1e-12),
            ("/smeasure", "smeasure.sm", 2e-5),
            ("/emeasure_adaptive", "emeasure.adp", 2e-5),
            ("/adp_f", "fmeasure.adp", 2e-5),
            ("/wfm", "wfm_beta1", 2e-5),
            ("/pr/precision", "fmeasure.precision", 2e-5),
            ("/pr/recall", "fmeasure.recall", 2e-5),
        ],
    );
}

#[test]
fn dis() {
    check(
        "dis",
        "dis",
        &[
            ("/basics/precision_255", "fmeasure.precision", 1e-5),
            ("/basics/recall_255", "fmeasure.recall", 1e-5),
            ("/basics/f1_255", "fmeasure.curve", 1e-5),
            ("/basics/max_f1", "fmeasure.max", 1e-5),
            ("/basics/mae_float32", "mae", 1e-5),
        ],
    );
}

#[test]
fn clean_differs_only_where_the_reference_breaks() {
    for (name, _) in blocks("pysodmetrics") {
        let (clean, theirs) = (measure("default", &name).unwrap(), measure("pysodmetrics", &name).unwrap());
        for (key, value) in &theirs.values {
            let ours = clean.value(key).unwrap();
            if (key.starts_with("smeasure") || key == "size_invariance.mae") && value.is_nan() {
                assert!(ours.is_finite(), "{name} {key}");
            } else if key.starts_with("context") {
                assert!(close(ours, *value, 2e-7), "{name} {key}: {ours}, {value}");
            } else if !key.starts_with("msiou") {
                assert!(close(ours, *value, 0.), "{name} {key}: {ours}, {value}");
            }
        }
    }
}

#[test]
fn other_sizes_are_refused_unless_the_protocol_resizes() {
    let refused = |protocol: &str| measure(protocol, "s12_size_mismatch").unwrap_err().to_string();
    for protocol in ["default", "pysodmetrics", "dis", "mgd-sam2"] {
        let message = refused(protocol);
        assert!(message.contains("260x180") && message.contains("320x240"), "{message}");
    }
    assert!(measure("birefnet", "s12_size_mismatch").is_ok());
}
