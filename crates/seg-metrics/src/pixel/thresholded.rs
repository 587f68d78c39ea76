//! Values at one fixed threshold that single toolkits print.

use crate::pixel::confusion::Confusion;
use crate::pixel::fmeasure::{above, at_least};
use crate::prepare::{Pixels, Prepared};
use crate::tally::Tally;

/// BER and accuracy of both images cut above 125; Dice of the prediction cut above a half, and soft IoU, with the ground
/// truth's foreground: as MGD-SAM2's `utils.py`, on the prediction's gray levels, not stretched. Quotients are undefined
/// (NaN) without foreground or background.
pub(crate) fn threshold125(pair: &Prepared<'_>) -> Vec<(&'static str, f64)> {
    let truth = pair.gt.plane().data();
    let grays: Vec<f64> = match &pair.pixels {
        Pixels::Bytes(bytes) => bytes.iter().map(|&p| f64::from(p)).collect(),
        Pixels::Words(words) => words.iter().map(|&p| pair.values[p as usize] * 255.).collect(),
    };
    let count = |threshold: f64, inside: &dyn Fn(u8) -> bool| {
        let mut counts = Confusion::default();
        for (&p, &t) in grays.iter().zip(truth) {
            let cell = match (p > threshold, inside(t)) {
                (true, true) => &mut counts.tp,
                (true, false) => &mut counts.fp,
                (false, false) => &mut counts.tn,
                (false, true) => &mut counts.fn_,
            };
            *cell += 1;
        }
        counts
    };
    let share = |a: u64, b: u64| a as f64 / b as f64;
    let Confusion { tp, fp, tn, fn_ } = count(125., &|t| t > 125);
    let (miss, false_alarm) = (1. - share(tp, tp + fn_), 1. - share(tn, tn + fp));
    let halved = count(127.5, &|t| pair.gt.holds(t));
    let both = 2 * halved.tp + halved.fp + halved.fn_;
    let dice = if both == 0 { 1. } else { share(2 * halved.tp, both) };
    let (mut overlap, mut total) = (0., 0.);
    for (&p, &t) in grays.iter().zip(truth) {
        let (p, t) = (p / 255., f64::from(u8::from(pair.gt.holds(t))));
        (overlap, total) = (overlap + p * t, total + p + t);
    }
    vec![
        ("ber_percent", (miss * 100. + false_alarm * 100.) / 2.),
        ("pos_err_percent", miss * 100.),
        ("neg_err_percent", false_alarm * 100.),
        ("acc", share(tp + tn, tp + fp + tn + fn_)),
        ("dice_coeff", dice),
        ("iou_soft", overlap / (total - overlap + 1e-6)),
    ]
}

/// Dice of the values themselves, and IoU, BER and accuracy with small constants, as MVANet's `saliency_metric.py`.
pub(crate) fn smoothed(tally: &Tally, values: &[f64]) -> [(&'static str, f64); 4] {
    const SMOOTH: f64 = 1e-5;
    let (overlap, total) = soft(tally, values);
    let half = above(tally, values, 0.5);
    let from_half = at_least(tally, values, 0.5);
    let recall = from_half.tp as f64 / (tally.foreground() as f64 + 1e-8);
    let specificity = from_half.tn as f64 / (tally.background() as f64 + 1e-8);
    [
        ("dice_soft", (2. * overlap + SMOOTH) / (total + SMOOTH)),
        ("iou", (half.tp as f64 + SMOOTH) / ((half.tp + half.fp + half.fn_) as f64 + SMOOTH)),
        ("ber", 1. - (recall + specificity) / 2.),
        ("acc", (from_half.tp + from_half.tn) as f64 / tally.pixels() as f64),
    ]
}

/// Sum of the values inside the foreground, and sum of the values and of the foreground.
fn soft(tally: &Tally, values: &[f64]) -> (f64, f64) {
    let sum = |counts: &[u64]| counts.iter().zip(values).map(|(&n, v)| n as f64 * v).sum::<f64>();
    let inside = sum(&tally.fg);
    (inside, inside + sum(&tally.bg) + tally.foreground() as f64)
}
