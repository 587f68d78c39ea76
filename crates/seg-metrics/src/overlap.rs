//! Intersection over union of masks, and what papers make of it over many pairs.

use serde::{Deserialize, Serialize};

use crate::ExactSum;
use crate::bits::BitMask;

/// Pixels that two masks share, and pixels of either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// Pixels set in both.
    pub intersection: u64,
    /// Pixels set in either.
    pub union: u64,
}

impl Overlap {
    /// Of two masks.
    ///
    /// # Panics
    /// When they differ in size.
    pub fn new(a: &BitMask, b: &BitMask) -> Self {
        Self { intersection: a.count_and(b), union: a.count_or(b) }
    }

    /// `intersection / union`; NaN when both masks are empty, as in Pi-SAM and HQ-SAM.
    pub fn iou(self) -> f64 {
        self.intersection as f64 / self.union as f64
    }

    /// `intersection / union`, and `empty` when both masks are empty.
    pub fn iou_or(self, empty: f64) -> f64 {
        if self.union == 0 { empty } else { self.iou() }
    }

    /// `(intersection + eps) / (union + eps)`.
    pub fn smoothed(self, eps: f64) -> f64 {
        (self.intersection as f64 + eps) / (self.union as f64 + eps)
    }
}

/// The IoU above which a pair counts as found, for precision at K.
pub const PRECISION_AT: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.9];

/// Overall IoU, mean IoU and precision at K of many pairs, as in referring segmentation (A2D-Sentences and JHMDB in
/// MTTR, from there in MPG-SAM 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReferringIou {
    pairs: u64,
    /// Summed over pairs: the overall IoU is of these.
    sum: Overlap,
    /// Sum of the pairs' IoU.
    iou: ExactSum,
    /// Pairs above each of [`PRECISION_AT`].
    above: [u64; PRECISION_AT.len()],
}

impl ReferringIou {
    /// Added to intersection and union of every pair: a pair of empty masks counts as found.
    pub const EPS: f64 = 1e-6;

    /// Adds a pair.
    pub fn add(&mut self, pair: Overlap) {
        let iou = pair.smoothed(Self::EPS);
        self.pairs += 1;
        self.sum.intersection += pair.intersection;
        self.sum.union += pair.union;
        self.iou.add(iou);
        for (count, k) in self.above.iter_mut().zip(PRECISION_AT) {
            *count += u64::from(iou > k);
        }
    }

    /// Adds the pairs of another shard.
    pub fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.sum.intersection += other.sum.intersection;
        self.sum.union += other.sum.union;
        self.iou.merge(&other.iou);
        self.above.iter_mut().zip(other.above).for_each(|(a, b)| *a += b);
    }

    /// How many pairs were added.
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Summed intersections over summed unions; NaN without foreground.
    pub fn overall(&self) -> f64 {
        self.sum.iou()
    }

    /// Mean of the pairs' IoU; NaN without pairs.
    pub fn mean(&self) -> f64 {
        self.iou.mean(self.pairs)
    }

    /// Share of pairs whose IoU is strictly above each of [`PRECISION_AT`]; NaN without pairs.
    pub fn precision_at(&self) -> [f64; PRECISION_AT.len()] {
        self.above.map(|n| n as f64 / self.pairs as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let pairs =
            [(3, 7), (0, 0), (5, 10), (1, 1), (0, 9)].map(|(intersection, union)| Overlap { intersection, union });
        let sum = |pairs: &[Overlap]| {
            let mut sum = ReferringIou::default();
            pairs.iter().for_each(|&p| sum.add(p));
            sum
        };
        let mut shards = sum(&pairs[3..]);
        shards.merge(&sum(&pairs[..3]));
        assert_eq!(shards, sum(&pairs));
        assert_eq!(shards.overall(), 9. / 27.);
        // 5 of 10 with the constant is not more than a half by a hair: (5 + 1e-6) / (10 + 1e-6) is above 0.5
        assert_eq!(shards.precision_at(), [0.6, 0.4, 0.4, 0.4, 0.4]);
        assert!((shards.mean() - (3. / 7. + 1. + 0.5 + 1.) / 5.).abs() < 1e-6);
    }
}
