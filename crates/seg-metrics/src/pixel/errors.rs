//! Mean absolute and mean squared error.

use crate::Plane;
use crate::prepare::Prepared;
use crate::tally::Tally;

/// Mean over the pixels of `f(|value - truth|)`.
fn mean(tally: &Tally, values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let levels = values.iter().zip(tally.fg.iter().zip(&tally.bg));
    let sum: f64 = levels.map(|(&v, (&fg, &bg))| fg as f64 * f((v - 1.).abs()) + bg as f64 * f(v)).sum();
    sum / tally.pixels() as f64
}

/// Mean absolute error.
pub(crate) fn mae(tally: &Tally, values: &[f64]) -> f64 {
    mean(tally, values, |e| e)
}

/// Mean squared error.
pub(crate) fn mse(tally: &Tally, values: &[f64]) -> f64 {
    mean(tally, values, |e| e * e)
}

/// Mean absolute error of the gray levels of both, as IS-Net's `mae_torch`.
pub(crate) fn gray_mae(pair: &Prepared<'_>) -> f64 {
    let gt: Plane<'_> = pair.gt.plane();
    let pixels = gt.len() as f64;
    let sum = match pair.bytes() {
        Some(pred) => {
            let rows = pred.rows().zip(gt.rows());
            rows.map(|(p, t)| p.iter().zip(t).map(|(&p, &t)| u64::from(p.abs_diff(t))).sum::<u64>()).sum::<u64>() as f64
        }
        None => crate::prepare::with_pixels!(pair, words => words
            .iter()
            .zip(gt.data())
            .map(|(&w, &t)| (pair.values[crate::prepare::Level::index(w)] * 255. - f64::from(t)).abs())
            .sum()),
    };
    sum / (pixels * 255. + 1e-4)
}
