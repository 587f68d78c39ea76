//! F-measure: curves, adaptive, and what many pairs give together.
//!
//! Achanta et al., "Frequency-tuned salient region detection", CVPR 2009.

use crate::pixel::confusion::Confusion;
use crate::protocol::{EmptyGt, FRule, Thresholds};
use crate::tally::Tally;

/// Precision, recall and F at each threshold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FCurves {
    pub(crate) precision: Vec<f64>,
    pub(crate) recall: Vec<f64>,
    pub(crate) f: Vec<f64>,
}

/// The adaptive threshold: twice the mean prediction, at most 1.
pub(crate) fn adaptive_threshold(tally: &Tally, values: &[f64]) -> f64 {
    (2. * mean(tally.both(), values)).min(1.)
}

/// Mean value of the counted pixels.
pub(crate) fn mean(counts: impl Iterator<Item = u64>, values: &[f64]) -> f64 {
    let (mut sum, mut pixels) = (0., 0u64);
    let mut levels = 0;
    let mut only = 0.;
    for (count, &value) in counts.zip(values).filter(|(count, _)| *count > 0) {
        sum += count as f64 * value;
        pixels += count;
        levels += 1;
        only = value;
    }
    // exact for a constant image, where thresholds and zero spreads depend on it
    if levels == 1 { only } else { sum / pixels as f64 }
}

/// The counts at each of 256 thresholds, the strictest first: `trunc(255 * value) >= 255 - i`.
pub(crate) fn dynamic(tally: &Tally, quantised: &[u8]) -> Vec<Confusion> {
    let (mut fg, mut bg) = ([0u64; 256], [0u64; 256]);
    for (level, &q) in quantised.iter().enumerate() {
        fg[usize::from(q)] += tally.fg[level];
        bg[usize::from(q)] += tally.bg[level];
    }
    let (all_fg, all_bg) = (tally.foreground(), tally.background());
    let (mut tp, mut fp) = (0, 0);
    (0..256)
        .rev()
        .map(|level| {
            tp += fg[level];
            fp += bg[level];
            Confusion { tp, fp, tn: all_bg - fp, fn_: all_fg - tp }
        })
        .collect()
}

/// The counts where the value is at least `threshold`.
pub(crate) fn at_least(tally: &Tally, values: &[f64], threshold: f64) -> Confusion {
    Confusion::from_level(tally, values.partition_point(|&v| v < threshold))
}

/// The counts where the value is above `threshold`.
pub(crate) fn above(tally: &Tally, values: &[f64], threshold: f64) -> Confusion {
    Confusion::from_level(tally, values.partition_point(|&v| v <= threshold))
}

/// F at the adaptive threshold; 0 where nothing is found.
pub(crate) fn adaptive(counts: &Confusion, rule: &FRule) -> f64 {
    if counts.tp == 0 {
        return 0.;
    }
    let precision = counts.tp as f64 / (counts.tp + counts.fp) as f64;
    let recall = counts.tp as f64 / (counts.tp + counts.fn_) as f64;
    (1. + rule.beta2) * precision * recall / (rule.beta2 * precision + recall)
}

/// The curves of one pair; `None` where the rule leaves pairs without foreground out. `levels` are the counts of
/// [`dynamic`].
pub(crate) fn curves(tally: &Tally, values: &[f64], levels: &[Confusion], rule: &FRule) -> Option<FCurves> {
    let truth = tally.foreground();
    if truth == 0 && rule.empty == EmptyGt::LeaveOut {
        return None;
    }
    let points: Vec<Confusion> = match rule.thresholds {
        Thresholds::Levels256 => levels.to_vec(),
        Thresholds::Levels255 => levels[1..].to_vec(),
        Thresholds::Fractions256 => {
            // numpy.linspace: multiples of the step, the last one set
            let threshold = |i: i32| if i == 255 { 1. } else { f64::from(i) * (1. / 255.) };
            (0..256).map(|i| at_least(tally, values, threshold(i))).collect()
        }
    };
    let (precision, recall): (Vec<f64>, Vec<f64>) = points
        .iter()
        .map(|c| {
            let found = (c.tp + c.fp) as f64 + rule.precision_eps;
            let truth = truth as f64 + rule.recall_eps;
            // a count of 0 stands above a denominator of 0
            let over = |d: f64| if d == 0. { 1. } else { d };
            (c.tp as f64 / over(found), c.tp as f64 / over(truth))
        })
        .unzip();
    let f = f_of(&precision, &recall, rule);
    Some(FCurves { precision, recall, f })
}

/// F from precision and recall; 0 where the numerator is.
pub(crate) fn f_of(precision: &[f64], recall: &[f64], rule: &FRule) -> Vec<f64> {
    let f = |(&p, &r): (&f64, &f64)| {
        let numerator = (1. + rule.beta2) * p * r;
        if numerator == 0. { 0. } else { numerator / (rule.beta2 * p + r + rule.f_eps) }
    };
    precision.iter().zip(recall).map(f).collect()
}

/// Area under a curve by trapezoids, after a stable sort of the abscissae.
pub(crate) fn area(x: &[f64], y: &[f64]) -> f64 {
    let mut points: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_of_a_step_and_a_diagonal() {
        assert_eq!(area(&[0., 1.], &[0., 1.]), 0.5);
        assert_eq!(area(&[1., 0., 0.], &[1., 0., 1.]), 1.);
    }
}
