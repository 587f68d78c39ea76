//! Values at one fixed threshold that single toolkits print.

use crate::pixel::confusion::Confusion;
use crate::pixel::fmeasure::{above, at_least};
use crate::prepare::Prepared;
use crate::tally::Tally;

/// Both images cut above 125, as MGD-SAM2's `utils.py`; quotients are undefined (NaN) without foreground or background.
pub(crate) fn threshold125(pair: &Prepared<'_>, tally: &Tally) -> Vec<(&'static str, f64)> {
    let mut counts = Confusion::default();
    crate::prepare::with_pixels!(pair, pixels => {
        for (p, &t) in pixels.iter().zip(pair.gt.plane().data()) {
            // levels of bytes are the bytes; those of floats are numbers of values
            let p = match &pair.pixels {
                crate::prepare::Pixels::Bytes(_) => crate::prepare::Level::index(*p) as f64,
                crate::prepare::Pixels::Words(_) => pair.values[crate::prepare::Level::index(*p)] * 255.,
            };
            let cell = match (p > 125., t > 125) {
                (true, true) => &mut counts.tp,
                (true, false) => &mut counts.fp,
                (false, false) => &mut counts.tn,
                (false, true) => &mut counts.fn_,
            };
            *cell += 1;
        }
    });
    let Confusion { tp, fp, tn, fn_ } = counts;
    let share = |a: u64, b: u64| a as f64 / b as f64;
    let (miss, false_alarm) = (1. - share(tp, tp + fn_), 1. - share(tn, tn + fp));
    let halved = above(tally, &pair.values, 0.5);
    let (found, truth) = (halved.tp + halved.fp, halved.tp + halved.fn_);
    let dice = if found + truth == 0 { 1. } else { 2. * halved.tp as f64 / (found + truth) as f64 };
    let (overlap, total) = soft(tally, &pair.values);
    vec![
        ("ber_percent", (miss * 100. + false_alarm * 100.) / 2.),
        ("pos_err_percent", miss * 100.),
        ("neg_err_percent", false_alarm * 100.),
        ("acc", share(tp + tn, counts.pixels())),
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
