//! Metrics of shape against the goldens: HCE, boundaries, multi-scale IoU, IoU.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use common::{close, expected, number, pair};
use seg_metrics::bits::BitMask;
use seg_metrics::boundary::{DILATION_RATIO, boundary_iou, gray_boundary_curve, mean_boundary_accuracy};
use seg_metrics::hce::{Hce, HceRule, hce};
use seg_metrics::msiou::{EdgePyramid, edges, msiou, msiou_curve, ratios};
use seg_metrics::overlap::{Overlap, PRECISION_AT, ReferringIou};
use seg_metrics::polyline::ChordDistance;
use seg_metrics::protocol::MsiouRule;
use seg_metrics::resize::bilinear;
use seg_metrics::{Plane, Prepared, Protocol};
use serde_json::Value;

/// Calls `f` with the name, the two images and what the toolkits gave, for every pair of equal sizes.
fn for_each_pair(mut f: impl FnMut(&str, Plane<'_>, Plane<'_>, &Value)) {
    let expected = expected();
    let mut seen = 0;
    for (name, toolkits) in expected["pairs"].as_object().unwrap() {
        let (pred, gt) = pair(name);
        if pred.plane().same_size(gt.plane()).is_ok() {
            seen += 1;
            f(name, pred.plane(), gt.plane(), toolkits);
        }
    }
    assert_eq!(seen, 10);
}

fn raw(plane: Plane<'_>) -> BitMask {
    BitMask::above(plane, 128)
}

/// The prediction where its stretched values meet a condition.
fn stretched(pred: Plane<'_>, gt: Plane<'_>, meets: impl Fn(f64) -> bool) -> BitMask {
    let prepared = Prepared::new(pred, gt, &Protocol::default()).unwrap();
    BitMask::from_fn(pred, |v| meets(prepared.values()[usize::from(v)]))
}

/// The quantised level of each byte of the prediction.
fn levels(pred: Plane<'_>, gt: Plane<'_>) -> [u8; 256] {
    Prepared::new(pred, gt, &Protocol::default()).unwrap().quantised().try_into().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| number(v).unwrap()).collect()
}

#[test]
fn hce_parts_by_opencv_release() {
    let by_release = &expected()["hce_by_opencv"];
    let mut checked = 0;
    for (release, distance) in [("4.12.0", ChordDistance::Line), ("4.14.0", ChordDistance::Segment)] {
        for_each_pair(|name, pred, gt, _| {
            for (binarised, mask) in [("raw_gt128", raw(pred)), ("minmax_gt0.5", stretched(pred, gt, |v| v > 0.5))] {
                let rule = HceRule { distance, ..HceRule::dis() };
                let Hce { fp_points, fp_independent, fn_points, fn_independent } = hce(&mask, &raw(gt), &rule);
                let parts = [fp_points, fp_independent, fn_points, fn_independent].map(|n| n as f64);
                assert_eq!(numbers(&by_release[release][binarised][name]), parts, "{release}, {binarised}, {name}");
                checked += 1;
            }
        });
    }
    assert_eq!(checked, 40);
}

#[test]
fn hce_of_pysodmetrics_and_dis() {
    for_each_pair(|name, pred, gt, toolkits| {
        let ours = hce(&stretched(pred, gt, |v| v > 0.5), &raw(gt), &HceRule::default());
        assert_eq!(number(&toolkits["pysodmetrics"]["hce"]), Some(ours.total() as f64), "{name}");
        let ours = hce(&raw(pred), &raw(gt), &HceRule::dis());
        assert_eq!(number(&toolkits["dis"]["hce"]["total"]), Some(ours.total() as f64), "{name}");
        let skeleton = seg_metrics::thin::thin(&raw(gt)).count();
        assert_eq!(number(&toolkits["dis"]["hce"]["skeleton_pixels"]), Some(skeleton as f64), "{name}");
    });
}

#[test]
fn boundaries() {
    for_each_pair(|name, pred, gt, toolkits| {
        for (key, ratio) in [("boundary_iou", DILATION_RATIO), ("boundary_iou_ratio0.005", 0.005)] {
            let theirs = number(&toolkits["pi_sam"][key]).unwrap();
            let ours = boundary_iou(&raw(pred), &raw(gt), ratio).iou();
            assert!(close(ours, theirs, 1e-5), "{name}, {key}: {ours}, expected {theirs}");
        }
        let theirs = number(&toolkits["birefnet"]["mba"]).unwrap();
        let ours = mean_boundary_accuracy(&raw(pred), &raw(gt));
        assert!(close(ours, theirs, 1e-12), "{name}, mba: {ours}, expected {theirs}");
        let biou = &toolkits["birefnet"]["biou"];
        let curve = gray_boundary_curve(pred, &levels(pred, gt), &raw(gt));
        for (i, (ours, theirs)) in curve.iter().zip(numbers(&biou["curve"])).enumerate() {
            assert!(close(*ours, theirs, 1e-12), "{name}, biou at {i}: {ours}, expected {theirs}");
        }
        let maximum = curve.iter().copied().fold(0., f64::max);
        assert!(close(maximum, number(&biou["max"]).unwrap(), 1e-12), "{name}");
    });
}

#[test]
fn iou_of_masks() {
    let mut sum = ReferringIou::default();
    let expected = expected();
    let aggregate = &expected["aggregate_free"];
    let over = aggregate["pysodmetrics"]["over"].as_array().unwrap();
    for_each_pair(|name, pred, gt, toolkits| {
        let theirs = number(&toolkits["pi_sam"]["mask_iou"]).unwrap();
        let ours = Overlap::new(&raw(pred), &raw(gt)).iou();
        assert!(close(ours, theirs, 1e-5), "{name}: {ours}, expected {theirs}");
        let theirs = &toolkits["mttr_a2d"];
        // more than a half without a stretch
        let ours = Overlap::new(&BitMask::above(pred, 127), &raw(gt));
        assert_eq!(number(&theirs["intersection"]), Some(ours.intersection as f64), "{name}");
        assert_eq!(number(&theirs["union"]), Some(ours.union as f64), "{name}");
        assert!(
            close(ours.smoothed(ReferringIou::EPS), number(&theirs["iou_eps1e-6_float32"]).unwrap(), 1e-5),
            "{name}"
        );
        if over.contains(&Value::from(name)) {
            sum.add(ours);
        }
    });
    let aggregate = &aggregate["mttr_a2d"];
    assert_eq!(sum.pairs() as usize, over.len());
    assert!(close(sum.overall(), number(&aggregate["overall_iou"]).unwrap(), 1e-5), "{}", sum.overall());
    assert!(close(sum.mean(), number(&aggregate["mean_iou"]).unwrap(), 1e-5), "{}", sum.mean());
    for (k, ours) in PRECISION_AT.iter().zip(sum.precision_at()) {
        assert_eq!(number(&aggregate["precision_at"][k.to_string()]), Some(ours), "precision at {k}");
    }
}

/// Pi-SAM resizes a network's output, not its mask: here the gray levels around 128.
#[test]
fn mask_and_boundary_iou_of_resized_logits() {
    let (pred, gt) = pair("s12_size_mismatch");
    let (pred, gt) = (pred.plane(), gt.plane());
    let logits: Vec<f64> = pred.data().iter().map(|&v| f64::from(v) - 128.).collect();
    let size = (gt.width(), gt.height());
    let resized: Vec<u8> =
        bilinear(&logits, (pred.width(), pred.height()), size).iter().map(|&v| u8::from(v > 0.)).collect();
    let pred = BitMask::above(Plane::new(&resized, size.0, size.1).unwrap(), 0);
    let theirs = &expected()["pairs"]["s12_size_mismatch"]["pi_sam"];
    for (key, ours) in [
        ("mask_iou", Overlap::new(&pred, &raw(gt))),
        ("boundary_iou", boundary_iou(&pred, &raw(gt), DILATION_RATIO)),
        ("boundary_iou_ratio0.005", boundary_iou(&pred, &raw(gt), 0.005)),
    ] {
        assert!(close(ours.iou(), number(&theirs[key]).unwrap(), 1e-5), "{key}: {}", ours.iou());
    }
}

#[test]
fn multi_scale_iou() {
    for_each_pair(|name, pred, gt, toolkits| {
        let theirs = &toolkits["pysodmetrics"]["msiou"];
        let get = |key: &str| number(&theirs[key]).unwrap();
        let prepared = Prepared::new(pred, gt, &Protocol::default()).unwrap();
        let truth = EdgePyramid::new(&raw(gt));
        let binary = stretched(pred, gt, |v| v > 0.5);
        assert_eq!(truth.counts()[0] as f64, get("gt_edge_pixels_exact"), "{name}");
        assert_eq!(edges(&binary).count() as f64, get("pred_binary_edge_pixels_exact"), "{name}");
        let mean = pred.data().iter().map(|&v| prepared.values()[usize::from(v)]).sum::<f64>() / pred.len() as f64;
        let adaptive = stretched(pred, gt, |v| v >= (2. * mean).min(1.));
        for (key, mask, rule) in [
            ("exact_integer_binary", &binary, MsiouRule::Exact),
            ("exact_integer_adaptive", &adaptive, MsiouRule::Exact),
            ("binary", &binary, MsiouRule::HalfNumpy2),
            ("adaptive", &adaptive, MsiouRule::HalfNumpy2),
        ] {
            let ours = msiou(mask, &truth, rule);
            assert!(close(ours, get(key), 1e-12), "{name}, {key}: {ours}, expected {}", get(key));
        }
        for (key, rule) in
            [("exact_integer_binary_ratios", MsiouRule::Exact), ("binary_ratios_reference", MsiouRule::HalfNumpy2)]
        {
            for (ours, theirs) in ratios(&binary, &truth, rule).iter().zip(numbers(&theirs[key])) {
                assert!(close(*ours, theirs, 1e-12), "{name}, {key}: {ours}, expected {theirs}");
            }
        }
        let curve = msiou_curve(pred, &levels(pred, gt), &truth, MsiouRule::HalfNumpy2);
        let theirs = numbers(&theirs["dynamic"]);
        assert_eq!(curve.len(), theirs.len());
        for (t, (ours, theirs)) in curve.iter().zip(theirs).enumerate() {
            assert!(close(*ours, theirs, 1e-12), "{name}, threshold {t}: {ours}, expected {theirs}");
        }
    });
}

/// The same bits whatever the number of threads.
#[test]
fn threads_do_not_matter() {
    let (pred, gt) = pair("s10_thin_structures");
    let (pred, gt) = (pred.plane(), gt.plane());
    let all = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let levels = levels(pred, gt);
            let truth = EdgePyramid::new(&raw(gt));
            let curves = [
                msiou_curve(pred, &levels, &truth, MsiouRule::Exact),
                gray_boundary_curve(pred, &levels, &raw(gt)),
                vec![mean_boundary_accuracy(&raw(pred), &raw(gt))],
            ];
            (curves.concat(), hce(&raw(pred), &raw(gt), &HceRule::default()))
        })
    };
    assert_eq!(all(1), all(3));
}
