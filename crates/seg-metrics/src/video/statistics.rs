//! Mean, recall and decay of an object's scores over the frames of a sequence.

use serde::{Deserialize, Serialize};

/// How the limits of the four quarters are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Exactly.
    #[default]
    Exact,
    /// In bytes, as davis2017 does: in sequences of more than 255 evaluated frames they wrap, and the decay is wrong or
    /// NaN.
    WrappingBytes,
}

/// Mean, recall and decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean over the frames.
    pub mean: f64,
    /// Share of the frames above a half.
    pub recall: f64,
    /// Mean of the first quarter minus mean of the last.
    pub decay: f64,
}

impl Statistics {
    /// Of one value a frame; NaN without frames.
    pub fn new(values: &[f64], decay: Decay) -> Self {
        let recall = values.iter().filter(|&&v| v > 0.5).count() as f64 / values.len() as f64;
        let quarter = |i| mean(quarter(values, i, decay));
        Self { mean: mean(values), recall, decay: quarter(0) - quarter(3) }
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Quarter `i` of the values; neighbouring quarters share a frame.
fn quarter(values: &[f64], i: usize, decay: Decay) -> &[f64] {
    if values.is_empty() {
        return values;
    }
    let limit = |i: usize| {
        let at = 1. + i as f64 * (values.len() - 1) as f64 / 4.;
        (at + 1e-10).round_ties_even() as usize - 1
    };
    let (from, to) = match decay {
        Decay::Exact => (limit(i), limit(i + 1) + 1),
        Decay::WrappingBytes => (limit(i) as u8 as usize, (limit(i + 1) as u8).wrapping_add(1) as usize),
    };
    values.get(from..to).unwrap_or_default()
}
