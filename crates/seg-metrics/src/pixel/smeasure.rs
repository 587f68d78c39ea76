//! Structure measure: Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017.

use crate::pixel::fmeasure::mean;
use crate::protocol::{Clamp, EmptyPart, SRule};
use crate::tally::{Tallies, Tally};

/// S and its two terms; images that are all foreground or all background have no terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SMeasure {
    pub(crate) sm: f64,
    pub(crate) terms: Option<Terms>,
}

/// Similarity of objects and of regions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Terms {
    pub(crate) object: f64,
    pub(crate) region: f64,
}

/// S of one pair.
pub(crate) fn smeasure(tallies: &Tallies, size: (usize, usize), values: &[f64], rule: &SRule) -> SMeasure {
    let whole = &tallies.whole;
    let average = || mean(whole.both(), values);
    if whole.foreground() == 0 {
        return SMeasure { sm: 1. - average(), terms: None };
    }
    if whole.background() == 0 {
        return SMeasure { sm: average(), terms: None };
    }
    let terms = Terms { object: object(whole, values, rule), region: region(tallies, size, values, rule) };
    SMeasure { sm: combine(terms, rule), terms: Some(terms) }
}

pub(crate) fn combine(terms: Terms, rule: &SRule) -> f64 {
    let sm = terms.object * rule.alpha + terms.region * (1. - rule.alpha);
    match rule.clamp {
        Clamp::Zero if sm < 0. => 0.,
        Clamp::ZeroAlsoNan if sm.is_nan() || sm < 0. => 0.,
        _ => sm,
    }
}

fn object(whole: &Tally, values: &[f64], rule: &SRule) -> f64 {
    let share = whole.foreground() as f64 / whole.pixels() as f64;
    let inverted: Vec<f64> = values.iter().map(|v| 1. - v).collect();
    score(&whole.fg, values, rule) * share + score(&whole.bg, &inverted, rule) * (1. - share)
}

/// Similarity to a constant 1 of the counted pixels.
fn score(counts: &[u64], values: &[f64], rule: &SRule) -> f64 {
    let pixels: u64 = counts.iter().sum();
    let m = mean(counts.iter().copied(), values);
    let squares: f64 = counts.iter().zip(values).map(|(&n, v)| n as f64 * (v - m).powi(2)).sum();
    let spread = match (rule.population, pixels, rule.single_pixel) {
        (true, ..) => (squares / pixels as f64).sqrt(),
        (false, 1, true) => 0.,
        // 0/0, undefined, for one pixel
        (false, ..) => (squares / (pixels - 1) as f64).sqrt(),
    };
    2. * m / (m * m + 1. + spread + rule.eps)
}

fn region(tallies: &Tallies, (width, height): (usize, usize), values: &[f64], rule: &SRule) -> f64 {
    let (above, left) = (tallies.cut.0 as f64, tallies.cut.1 as f64);
    let (w, h) = (width as f64, height as f64);
    let area = w * h;
    let (a, b, c) = (left * above / area, above * (w - left) / area, (h - above) * left / area);
    let weights = [a, b, c, 1. - a - b - c];
    let parts = tallies.parts.iter().zip(weights);
    parts
        .filter(|(part, _)| rule.empty_part == EmptyPart::Undefined || part.pixels() > 0)
        .map(|(part, weight)| similarity(part, values, rule) * weight)
        .sum()
}

/// Structural similarity of a part's prediction and truth; NaN where the part has no pixels.
fn similarity(part: &Tally, values: &[f64], rule: &SRule) -> f64 {
    let pixels = part.pixels() as f64;
    let (fg, bg) = (part.foreground() as f64, part.background() as f64);
    let (x, y) = (mean(part.both(), values), fg / pixels);
    let (mut var_x, mut cov) = (0., 0.);
    for (&v, (&f, &b)) in values.iter().zip(part.fg.iter().zip(&part.bg)) {
        let d = v - x;
        var_x += (f + b) as f64 * d * d;
        cov += d * (f as f64 * (1. - y) - b as f64 * y);
    }
    let var_y = fg * (1. - y) * (1. - y) + bg * y * y;
    similarity_of(Moments { pixels, x, y, var_x, var_y, cov }, rule)
}

/// Means of two signals and sums of their squared deviations and products.
pub(crate) struct Moments {
    pub(crate) pixels: f64,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) var_x: f64,
    pub(crate) var_y: f64,
    pub(crate) cov: f64,
}

pub(crate) fn similarity_of(m: Moments, rule: &SRule) -> f64 {
    let sample = m.pixels - 1. + rule.variance_eps;
    // the swapped measure's parts are over n - 1 although its objects are not
    let spread = if rule.population && !rule.swapped { m.pixels } else { sample };
    let (var_x, var_y, cov) = (m.var_x / spread, m.var_y / spread, m.cov / sample);
    let alpha = 4. * m.x * m.y * cov;
    let beta = (m.x * m.x + m.y * m.y) * (var_x + var_y);
    if alpha != 0. {
        alpha / (beta + rule.eps)
    } else if beta == 0. {
        1.
    } else {
        0.
    }
}
