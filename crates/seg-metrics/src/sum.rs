//! Sums that do not depend on the order of their terms.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Binary places behind the point.
const PLACES: i32 = 56;
/// Terms up to this size are summed; a quarter of a million of the largest fit. (The E-measure of a 1x1 image is 2^52.)
const LARGEST: f64 = (1u64 << 53) as f64;

/// A sum of finite numbers in fixed point: terms are rounded to 2^-56, then added as integers, so that any order and any
/// grouping of the terms gives the same bits. A term beyond 2^53, NaN or infinite makes the mean undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactSum {
    scaled: i128,
    undefined: u64,
}

impl ExactSum {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        if term.is_nan() || term.abs() > LARGEST {
            self.undefined += 1;
            return;
        }
        // a power of two scales exactly; the cast is exact above the last place
        self.scaled = self.scaled.saturating_add((term * 2f64.powi(PLACES)).round_ties_even() as i128);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.scaled = self.scaled.saturating_add(other.scaled);
        self.undefined += other.undefined;
    }

    /// The sum over `n`; NaN if a term was undefined, or `n` is 0.
    pub fn mean(&self, n: u64) -> f64 {
        if self.undefined > 0 || n == 0 {
            return f64::NAN;
        }
        self.scaled as f64 / 2f64.powi(PLACES) / n as f64
    }
}

impl Serialize for ExactSum {
    /// `[integer as text, undefined terms]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.scaled.to_string(), self.undefined).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ExactSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (scaled, undefined) = <(String, u64)>::deserialize(deserializer)?;
        let scaled = scaled.parse().map_err(|_| de::Error::custom(format!("{scaled:?}, expected an integer")))?;
        Ok(Self { scaled, undefined })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same_bits() {
        let terms: Vec<f64> = (1..2000).map(|i| 1. / f64::from(i) * if i % 3 == 0 { -1e3 } else { 1e-3 }).collect();
        let sum = |terms: &mut dyn Iterator<Item = &f64>| {
            let mut sum = ExactSum::default();
            terms.for_each(|&t| sum.add(t));
            sum
        };
        let mut halves = sum(&mut terms[700..].iter());
        halves.merge(&sum(&mut terms[..700].iter()));
        assert_eq!(sum(&mut terms.iter()), sum(&mut terms.iter().rev()));
        assert_eq!(sum(&mut terms.iter()), halves);
        let plain = terms.iter().sum::<f64>() / 1999.;
        assert!((halves.mean(1999) - plain).abs() < 1e-12 * plain.abs());
    }

    #[test]
    fn undefined_terms_are_not_lost() {
        let mut sum = ExactSum::default();
        [1., f64::NAN, 1e300].iter().for_each(|&t| sum.add(t));
        assert!(sum.mean(3).is_nan());
        assert_eq!(sum.undefined, 2);
    }
}
