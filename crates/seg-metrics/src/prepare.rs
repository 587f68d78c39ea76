//! From two images to what the formulas read: the level of every predicted pixel, the value of every level, the
//! foreground.

use crate::protocol::{GtRule, Protocol, Resize, Stretch};
use crate::resize::{bilinear, bilinear_u8};
use crate::{Error, Plane, Result};

/// A pair made ready for the formulas.
///
/// A prediction of 8 bits has at most 256 values, so a pixel is kept as its level and every formula works on counts of
/// levels. One that was resized in floats, or came as floats, is kept in the same way: its levels are its different
/// values.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    pub(crate) pixels: Pixels<'a>,
    /// Value of each level, 0..1; it never falls.
    pub(crate) values: Vec<f64>,
    pub(crate) gt: Foreground<'a>,
}

/// The level of every pixel, row by row.
#[derive(Clone, Debug)]
pub(crate) enum Pixels<'a> {
    /// 8-bit levels, borrowed or resized.
    Bytes(std::borrow::Cow<'a, [u8]>),
    /// Numbers of different values.
    Words(Vec<u32>),
}

/// An index into [`Prepared::values`].
pub(crate) trait Level: Copy + Ord + Send + Sync {
    fn index(self) -> usize;
    /// The level of an index.
    fn of(index: usize) -> Self;
    /// One where the mask is 255, the other where it is 0.
    fn pick(mask: u8, one: Self, other: Self) -> Self;
    /// The values of some levels.
    fn values(levels: &[Self], ramp: &Ramp<'_>, out: &mut [f64]);
}

/// The values of levels, which never fall. Of 8-bit levels they lie on a straight line, as far as the levels occur.
pub(crate) struct Ramp<'a> {
    values: &'a [f64],
    low: f64,
    slope: f64,
}

impl<'a> Ramp<'a> {
    pub(crate) fn new(values: &'a [f64]) -> Self {
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return Self { values, low: 0., slope: 0. };
        };
        // levels that do not occur have the values of the ends
        let low = values.iter().rposition(|v| v == first).unwrap_or(0) as f64;
        let high = values.iter().position(|v| v == last).unwrap_or(0) as f64;
        Self { values, low, slope: if high > low { (last - first) / (high - low) } else { 0. } }
    }

    /// The lowest level that is above 0, as are all above it.
    pub(crate) fn above_zero<L: Level>(&self) -> Option<L> {
        self.values.iter().position(|&v| v > 0.).map(L::of)
    }

    /// The highest level that is below 1, as are all below it.
    pub(crate) fn below_one<L: Level>(&self) -> Option<L> {
        self.values.iter().rposition(|&v| v < 1.).map(L::of)
    }

    /// The line of 8-bit levels: its value at level 0, and its slope.
    pub(crate) fn line(&self) -> (f64, f64) {
        (self.values.first().copied().unwrap_or(0.) - self.low * self.slope, self.slope)
    }
}

impl Level for u8 {
    fn index(self) -> usize {
        usize::from(self)
    }

    fn of(index: usize) -> Self {
        index as u8
    }

    #[inline(always)]
    fn pick(mask: u8, one: Self, other: Self) -> Self {
        (one & mask) | (other & !mask)
    }

    #[inline(always)]
    fn values(levels: &[Self], ramp: &Ramp<'_>, out: &mut [f64]) {
        let base = ramp.values.first().copied().unwrap_or(0.);
        for (out, level) in out.iter_mut().zip(levels) {
            *out = base + (f64::from(*level) - ramp.low) * ramp.slope;
        }
    }
}

impl Level for u32 {
    fn index(self) -> usize {
        self as usize
    }

    fn of(index: usize) -> Self {
        index as u32
    }

    #[inline(always)]
    fn pick(mask: u8, one: Self, other: Self) -> Self {
        let mask = u32::from(mask) * 0x0101_0101;
        (one & mask) | (other & !mask)
    }

    #[inline(always)]
    fn values(levels: &[Self], ramp: &Ramp<'_>, out: &mut [f64]) {
        out.iter_mut().zip(levels).for_each(|(out, level)| *out = ramp.values[level.index()]);
    }
}

/// Calls the generic function with the pixels in the type they are kept in.
macro_rules! with_pixels {
    ($prepared:expr, $pixels:ident => $body:expr) => {
        match &$prepared.pixels {
            $crate::prepare::Pixels::Bytes(bytes) => {
                let $pixels: &[u8] = bytes;
                $body
            }
            $crate::prepare::Pixels::Words(words) => {
                let $pixels: &[u32] = words;
                $body
            }
        }
    };
}
pub(crate) use with_pixels;

/// A ground truth and where its foreground begins.
#[derive(Clone, Copy, Debug)]
pub struct Foreground<'a> {
    plane: Plane<'a>,
    /// Levels from here on are foreground; 256 where none is.
    first: u16,
}

impl<'a> Foreground<'a> {
    /// The foreground of `plane` by a rule.
    pub fn new(plane: Plane<'a>, rule: GtRule) -> Self {
        let first = match rule {
            GtRule::Above(level) => u16::from(level) + 1,
            GtRule::UpperHalfOfRange => {
                let (low, high) = range(plane.data());
                let values = stretched(low, high, Stretch::ScaleShift);
                first_level(|level| values[level] >= 0.5)
            }
            GtRule::AboveHalfOfMaximum => {
                let (_, high) = range(plane.data());
                first_level(|level| level as f64 / (f64::from(high) + 1e-8) > 0.5)
            }
        };
        Self { plane, first }
    }

    /// The image.
    pub fn plane(&self) -> Plane<'a> {
        self.plane
    }

    /// Whether a level is foreground.
    pub fn holds(&self, level: u8) -> bool {
        u16::from(level) >= self.first
    }

    /// The level where the foreground begins; `None` where there is none.
    pub(crate) fn first(&self) -> Option<u8> {
        u8::try_from(self.first).ok()
    }
}

/// The first level of 0..256 for which a condition holds that, once it does, goes on to.
fn first_level(holds: impl Fn(usize) -> bool) -> u16 {
    (0..256).find(|&level| holds(level)).unwrap_or(256) as u16
}

impl<'a> Prepared<'a> {
    /// Prepares an 8-bit prediction and its ground truth.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] when the sizes differ and the protocol has no resize, or PIL's, which whoever decodes does.
    pub fn new(pred: Plane<'a>, gt: Plane<'a>, protocol: &Protocol) -> Result<Self> {
        let (width, height) = (gt.width(), gt.height());
        let foreground = Foreground::new(gt, protocol.ground_truth);
        let values = |bytes: &[u8]| {
            let (low, high) = range(bytes);
            stretched(low, high, protocol.stretch)
        };
        let Err(refusal) = pred.same_size(gt) else {
            return Ok(Self { values: values(pred.data()), pixels: Pixels::Bytes(pred.data().into()), gt: foreground });
        };
        match protocol.resize {
            Resize::Refuse | Resize::PilBicubic => Err(refusal),
            Resize::OpencvBilinear => {
                let bytes = bilinear_u8(pred, width, height);
                Ok(Self { values: values(&bytes), pixels: Pixels::Bytes(bytes.into()), gt: foreground })
            }
            Resize::BilinearAfterStretch => {
                let table = values(pred.data());
                let floats: Vec<f64> = pred.data().iter().map(|&level| table[usize::from(level)]).collect();
                let resized = bilinear(&floats, (pred.width(), pred.height()), (width, height));
                Ok(Self::from_values(&resized, foreground))
            }
        }
    }

    /// Prepares a prediction of floats in 0..1 and an 8-bit ground truth of the same size, as toolkits do that are fed
    /// a network's output: everything up to the thresholds is computed in `f32`. The protocol's resize does not apply.
    ///
    /// # Errors
    /// [`Error::Length`] when there are not as many values as pixels, [`Error::NotFinite`] for NaN and infinities.
    pub fn from_floats(pred: &[f32], gt: Plane<'a>, protocol: &Protocol) -> Result<Self> {
        let (width, height) = (gt.width(), gt.height());
        if pred.len() != gt.len() {
            return Err(Error::Length { len: pred.len(), width, height });
        }
        if let Some(at) = pred.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite { value: pred[at].to_string(), x: at % width, y: at / width });
        }
        let scaled = |v: f32| v * 255. / 255.;
        let low = pred.iter().copied().map(scaled).fold(f32::INFINITY, f32::min);
        let high = pred.iter().copied().map(scaled).fold(f32::NEG_INFINITY, f32::max);
        let values: Vec<f64> = match protocol.stretch {
            Stretch::None => pred.iter().map(|&v| f64::from(scaled(v))).collect(),
            Stretch::MinMax | Stretch::MinMaxDirect if low == high => vec![f64::from(low); pred.len()],
            Stretch::ScaleShift if low == high => vec![0.; pred.len()],
            _ => pred.iter().map(|&v| f64::from((scaled(v) - low) / (high - low))).collect(),
        };
        Ok(Self::from_values(&values, Foreground::new(gt, protocol.ground_truth)))
    }

    fn from_values(values: &[f64], gt: Foreground<'a>) -> Self {
        let mut levels = values.to_vec();
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup();
        let words = values.iter().map(|v| levels.partition_point(|level| level < v) as u32).collect();
        Self { pixels: Pixels::Words(words), values: levels, gt }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.gt.plane.width()
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.gt.plane.height()
    }

    /// The ground truth.
    pub fn foreground(&self) -> Foreground<'a> {
        self.gt
    }

    /// The 8-bit levels of the prediction at the ground truth's size, where it was not made of floats.
    pub fn bytes(&self) -> Option<Plane<'_>> {
        match &self.pixels {
            Pixels::Bytes(bytes) => Plane::new(bytes, self.width(), self.height()).ok(),
            Pixels::Words(_) => None,
        }
    }

    /// The value of each level.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// `trunc(255 * value)` of each level.
    pub fn quantised(&self) -> Vec<u8> {
        self.values.iter().map(|&v| (v * 255.) as u8).collect()
    }
}

/// Smallest and largest level.
fn range(pixels: &[u8]) -> (u8, u8) {
    // in pieces, so that a full range ends the search; a piece's loop is vectorised
    let (mut low, mut high) = (255, 0);
    for piece in pixels.chunks(1 << 16) {
        low = piece.iter().fold(low, |a, &b| a.min(b));
        high = piece.iter().fold(high, |a, &b| a.max(b));
        if (low, high) == (0, 255) {
            break;
        }
    }
    (low, high)
}

/// The value of each of 256 levels in an image whose levels go from `low` to `high`; the operations and their order are
/// those of the toolkits, for the last bits decide where a truncated value falls.
fn stretched(low: u8, high: u8, stretch: Stretch) -> Vec<f64> {
    let unit = |level: f64| level / 255.;
    let (low, high) = (f64::from(low), f64::from(high));
    let value = |level: f64| match stretch {
        Stretch::None => unit(level),
        Stretch::MinMax | Stretch::MinMaxDirect if low == high => unit(level),
        Stretch::MinMax => (unit(level) - unit(low)) / (unit(high) - unit(low)),
        Stretch::MinMaxDirect => (level - low) / (high - low),
        Stretch::ScaleShift if low == high => 0.,
        Stretch::ScaleShift => {
            let scale = 1. / (high - low);
            level * scale + (0. - low * scale)
        }
    };
    // levels that do not occur are held inside the range
    (0..256).map(|level| value(f64::from(level).clamp(low, high))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_order_decides_the_quantised_level() {
        let lower = (0..=255u8)
            .flat_map(|low| (low..=255).map(move |high| (low, high)))
            .filter(|(low, high)| low != high)
            .flat_map(|(low, high)| {
                let values = stretched(low, high, Stretch::MinMax);
                (low..=high).map(move |v| {
                    let exact = (u32::from(v) - u32::from(low)) * 255 / (u32::from(high) - u32::from(low));
                    (exact, (values[usize::from(v)] * 255.) as u32)
                })
            })
            .filter(|(exact, got)| got != exact)
            .inspect(|(exact, got)| assert_eq!(got + 1, *exact))
            .count();
        assert_eq!(lower, 39_853);
    }

    #[test]
    fn foreground_rules_differ_on_gray_images() {
        let pixels = [0, 99, 100, 101, 128, 129, 200];
        let plane = Plane::new(&pixels, 7, 1).unwrap();
        let count = |rule| {
            let gt = Foreground::new(plane, rule);
            pixels.iter().filter(|&&v| gt.holds(v)).count()
        };
        assert_eq!(count(GtRule::Above(128)), 2);
        assert_eq!(count(GtRule::UpperHalfOfRange), 5);
        assert_eq!(count(GtRule::AboveHalfOfMaximum), 4);
        let white = Plane::new(&[255; 4], 2, 2).unwrap();
        assert!(!Foreground::new(white, GtRule::UpperHalfOfRange).holds(255));
        assert!(Foreground::new(white, GtRule::AboveHalfOfMaximum).holds(255));
    }

    #[test]
    fn floats_keep_their_order() {
        let gt = Plane::new(&[0, 255, 255, 0], 2, 2).unwrap();
        let prepared = Prepared::from_floats(&[0.5, 0.25, 1.0, 0.25], gt, &Protocol::default()).unwrap();
        assert_eq!(prepared.values.len(), 3);
        assert_eq!((prepared.values[0], prepared.values[2]), (0., 1.));
        assert!(Prepared::from_floats(&[0.5, f32::NAN, 1.0, 0.25], gt, &Protocol::default()).is_err());
    }
}
