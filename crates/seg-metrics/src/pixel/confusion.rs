//! The four counts of a binary prediction, and the ratios made of them.

use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// Pixels by prediction and truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Foreground taken for foreground.
    pub tp: u64,
    /// Background taken for foreground.
    pub fp: u64,
    /// Background taken for background.
    pub tn: u64,
    /// Foreground taken for background.
    pub fn_: u64,
}

impl Confusion {
    /// The counts where levels from `first` on are predicted foreground.
    pub(crate) fn from_level(tally: &Tally, first: usize) -> Self {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        Self {
            tp: sum(&tally.fg[first..]),
            fp: sum(&tally.bg[first..]),
            tn: sum(&tally.bg[..first]),
            fn_: sum(&tally.fg[..first]),
        }
    }

    /// Pixels.
    pub fn pixels(&self) -> u64 {
        self.tp + self.fp + self.tn + self.fn_
    }

    /// Counts of two images together.
    pub fn plus(&self, other: &Self) -> Self {
        Self { tp: self.tp + other.tp, fp: self.fp + other.fp, tn: self.tn + other.tn, fn_: self.fn_ + other.fn_ }
    }
}

/// A ratio of the four counts. Each quotient whose denominator is 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ratio {
    /// F-measure with beta squared 0.3, from the two quotients.
    Fm,
    /// F-measure with beta 1, from the two quotients.
    F1,
    /// Precision `TP / (TP + FP)`.
    Pre,
    /// Recall, sensitivity, true positive rate `TP / (TP + FN)`.
    Rec,
    /// False positive rate `FP / (FP + TN)`.
    Fpr,
    /// Intersection over union `TP / (TP + FP + FN)`.
    Iou,
    /// Dice `2 TP / (2 TP + FP + FN)`.
    Dice,
    /// Specificity, true negative rate `TN / (TN + FP)`.
    Spec,
    /// Balanced error rate, 0..1: one minus the mean of recall and specificity.
    Ber,
    /// Overall accuracy `(TP + TN) / N`.
    Oa,
    /// Cohen's kappa, `(oa - pe) / (1 - pe)`.
    Kappa,
}

impl Ratio {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Fm,
        Self::F1,
        Self::Pre,
        Self::Rec,
        Self::Fpr,
        Self::Iou,
        Self::Dice,
        Self::Spec,
        Self::Ber,
        Self::Oa,
        Self::Kappa,
    ];

    /// As in the names of results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fm => "fm",
            Self::F1 => "f1",
            Self::Pre => "pre",
            Self::Rec => "rec",
            Self::Fpr => "fpr",
            Self::Iou => "iou",
            Self::Dice => "dice",
            Self::Spec => "spec",
            Self::Ber => "ber",
            Self::Oa => "oa",
            Self::Kappa => "kappa",
        }
    }

    /// Its value for these counts.
    pub fn of(self, counts: &Confusion) -> f64 {
        let Confusion { tp, fp, tn, fn_ } = *counts;
        match self {
            Self::Fm => f_of(0.3, divide(tp, tp + fp), divide(tp, tp + fn_)),
            Self::F1 => f_of(1., divide(tp, tp + fp), divide(tp, tp + fn_)),
            Self::Pre => divide(tp, tp + fp),
            Self::Rec => divide(tp, tp + fn_),
            Self::Fpr => divide(fp, tn + fp),
            Self::Iou => divide(tp, tp + fp + fn_),
            Self::Dice => divide(2 * tp, 2 * tp + fp + fn_),
            Self::Spec => divide(tn, tn + fp),
            Self::Ber => 1. - 0.5 * (divide(tp, tp + fn_) + divide(tn, tn + fp)),
            Self::Oa => divide(tp + tn, counts.pixels()),
            Self::Kappa => kappa(counts),
        }
    }
}

fn divide(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 { 0. } else { numerator as f64 / denominator as f64 }
}

fn f_of(beta2: f64, precision: f64, recall: f64) -> f64 {
    let denominator = beta2 * precision + recall;
    if denominator == 0. { 0. } else { (beta2 + 1.) * precision * recall / denominator }
}

fn kappa(counts: &Confusion) -> f64 {
    let Confusion { tp, fp, tn, fn_ } = *counts;
    let pixels = counts.pixels();
    if pixels == 0 {
        return 0.;
    }
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let agreement = product(tp + fp, tp + fn_) + product(tn + fn_, tn + tp);
    let by_chance = agreement as f64 / product(pixels, pixels) as f64;
    let rest = 1. - by_chance;
    if rest == 0. { 0. } else { (divide(tp + tn, pixels) - by_chance) / rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_do_not_overflow() {
        let side = 4_000_000_000;
        let counts = Confusion { tp: side, fp: side, tn: side, fn_: side };
        assert_eq!(Ratio::Kappa.of(&counts), 0.);
        assert_eq!(Ratio::Oa.of(&counts), 0.5);
    }

    #[test]
    fn nothing_divides_by_zero() {
        for ratio in Ratio::ALL {
            let value = ratio.of(&Confusion::default());
            assert!(value == if ratio == Ratio::Ber { 1. } else { 0. }, "{ratio:?}: {value}");
        }
    }
}
