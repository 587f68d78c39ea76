//! Enhanced-alignment measure: Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation", IJCAI 2018.

use crate::pixel::confusion::Confusion;
use crate::protocol::ERule;

/// E of one binary prediction.
///
/// Prediction and truth have two values each, so that the alignment matrix has at most four, one for each count.
pub(crate) fn emeasure(counts: &Confusion, rule: &ERule) -> f64 {
    let Confusion { tp, fp, tn, fn_ } = *counts;
    let pixels = counts.pixels() as f64;
    let sum = if tp + fn_ == 0 {
        (tn + fn_) as f64
    } else if fp + tn == 0 {
        (tp + fp) as f64
    } else {
        let (pred, truth) = ((tp + fp) as f64 / pixels, (tp + fn_) as f64 / pixels);
        let part = |u: f64, v: f64, count: u64| {
            let align = 2. * (u * v) / (u * u + v * v + rule.align_eps);
            (align + 1.) * (align + 1.) / 4. * count as f64
        };
        part(1. - pred, 1. - truth, tp)
            + part(1. - pred, 0. - truth, fp)
            + part(0. - pred, 1. - truth, fn_)
            + part(0. - pred, 0. - truth, tn)
    };
    sum / (pixels - 1. + rule.total_eps)
}
