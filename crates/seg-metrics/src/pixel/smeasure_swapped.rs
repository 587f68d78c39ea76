//! The S-measure of `saliency_toolbox.py`, whose terms take prediction for truth and truth for prediction.

use crate::pixel::smeasure::{Moments, SMeasure, Terms, combine, similarity_of};
use crate::prepare::{Level, Prepared, with_pixels};
use crate::protocol::SRule;

/// S of one pair; `None` for a prediction of zeros, for which the toolbox raises an error.
pub(crate) fn smeasure(pair: &Prepared<'_>, rule: &SRule) -> Option<SMeasure> {
    let pred: Vec<f64> = with_pixels!(pair, pixels => pixels.iter().map(|p| pair.values[p.index()]).collect());
    let truth: Vec<f64> = pair.gt.plane().data().iter().map(|&t| f64::from(u8::from(pair.gt.holds(t)))).collect();
    let pixels = pred.len() as f64;
    let share = truth.iter().sum::<f64>() / pixels;
    let average = pred.iter().sum::<f64>() / pixels;
    if share == 0. {
        return Some(SMeasure { sm: 1. - average, terms: None });
    }
    if share == 1. {
        return Some(SMeasure { sm: average, terms: None });
    }
    let (above, left) = centroid(&pred, pair.width())?;
    // its object score changes the two places once more
    let on = pred.iter().zip(&truth).filter(|(p, t)| **t == 1. && **p != 0.).map(|(p, _)| *p);
    let off =
        pred.iter().zip(&truth).filter(|(p, t)| **t == 0. && **p != 1.).map(|(p, _)| f64::from(u8::from(*p == 0.)));
    let object =
        average * score(&on.collect::<Vec<_>>(), rule) + (1. - average) * score(&off.collect::<Vec<_>>(), rule);
    let (w, h) = (pair.width(), pair.height());
    let weight = |x: usize, y: usize| (x * y) as f64 / (w * h) as f64;
    let (a, b, c) = (weight(left, above), weight(w - left, above), weight(left, h - above));
    let boxes = [[0, 0, left, above], [left, 0, w, above], [0, above, left, h], [left, above, w, h]];
    let region = boxes
        .into_iter()
        .zip([a, b, c, 1. - a - b - c])
        .map(|(at, weight)| weight * similarity_of(moments(&pred, &truth, w, at), rule))
        .sum();
    let terms = Terms { object, region };
    Some(SMeasure { sm: combine(terms, rule), terms: Some(terms) })
}

/// Rounded mean of rows and columns counted from 1, weighted by the prediction.
fn centroid(pred: &[f64], width: usize) -> Option<(usize, usize)> {
    let total: f64 = pred.iter().sum();
    let weighted = |at: &dyn Fn(usize) -> usize| {
        let sum: f64 = pred.iter().enumerate().map(|(i, v)| v * (at(i) + 1) as f64).sum();
        (sum / total).round_ties_even() as usize
    };
    (total > 0.).then(|| (weighted(&|i| i / width), weighted(&|i| i % width)))
}

fn score(values: &[f64], rule: &SRule) -> f64 {
    let n = values.len() as f64;
    let m = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / n).sqrt();
    2. * m / (m * m + 1. + spread + rule.eps)
}

fn moments(pred: &[f64], truth: &[f64], width: usize, [x0, y0, x1, y1]: [usize; 4]) -> Moments {
    let cells = || (y0..y1).flat_map(|y| (x0..x1).map(move |x| y * width + x));
    let pixels = ((x1 - x0) * (y1 - y0)) as f64;
    let (mut x, mut y) = (0., 0.);
    cells().for_each(|i| (x, y) = (x + pred[i], y + truth[i]));
    let (x, y) = (x / pixels, y / pixels);
    let (mut var_x, mut var_y, mut cov) = (0., 0., 0.);
    for i in cells() {
        let (dx, dy) = (pred[i] - x, truth[i] - y);
        (var_x, var_y, cov) = (var_x + dx * dx, var_y + dy * dy, cov + dx * dy);
    }
    Moments { pixels, x, y, var_x, var_y, cov }
}
