//! Random numbers that a place and a purpose tell.

use super::Place;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Random numbers for one purpose at one place (ChaCha8): the same on every machine.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The numbers of `purpose` at `place`. Different purposes draw independently of each other, so that a new one changes nothing of the others.
    pub fn new(place: Place, purpose: &str) -> Self {
        // FNV-1a: short, and fixed for good
        let purpose =
            purpose.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut key = [0; 32];
        for (part, value) in key.chunks_exact_mut(8).zip([place.seed, place.epoch, place.index, purpose]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `low..high`; `low` where there is nothing between.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low).max(0.) * self.unit()
    }

    /// A whole number in `0..count`, each as likely as the others; 0 where `count` is 0.
    pub fn below(&mut self, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        // the numbers from which every remainder is as likely
        let even = u64::MAX - u64::MAX % count;
        loop {
            let bits = self.bits();
            if bits < even {
                return bits % count;
            }
        }
    }

    /// `true` in `part` of all cases.
    pub fn chance(&mut self, part: f64) -> bool {
        self.unit() < part
    }

    /// One of the items; `None` where there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// A number of the normal distribution of mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1. - self.unit(), self.unit());
        (-2. * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Puts the items into a random order, each order as likely as the others.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { seed: 7, epoch: 1, index: 3 };

    #[test]
    fn a_place_tells_the_numbers() {
        let draw = |place, purpose| {
            let mut dice = Dice::new(place, purpose);
            [dice.bits(), dice.bits()]
        };
        assert_eq!(draw(PLACE, "crop"), draw(PLACE, "crop"));
        assert_ne!(draw(PLACE, "crop"), draw(PLACE, "flip"));
        for other in [Place { seed: 8, ..PLACE }, Place { epoch: 2, ..PLACE }, Place { index: 4, ..PLACE }] {
            assert_ne!(draw(PLACE, "crop"), draw(other, "crop"));
        }
    }

    #[test]
    fn numbers_are_even() {
        let mut dice = Dice::new(PLACE, "even");
        let mean = (0..10_000).map(|_| dice.unit()).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let mut counts = [0; 7];
        (0..7000).for_each(|_| counts[dice.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
        let normal: Vec<f64> = (0..10_000).map(|_| dice.normal()).collect();
        let square = normal.iter().map(|v| v * v).sum::<f64>() / 1e4;
        assert!((square - 1.).abs() < 0.06, "{square}");
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }

    #[test]
    fn orders_hold_every_item_once() {
        let mut items: Vec<u32> = (0..100).collect();
        Dice::new(PLACE, "order").shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
