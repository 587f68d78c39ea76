//! Multi-scale IoU (Ahmadzadeh et al., "Multiscale IOU: A Metric for Evaluation of Salient Object Detection with Fine
//! Structures", ICIP 2021) as in PySODMetrics: how many of the ground truth's edge cells the prediction's edges hit, at
//! ten cell sizes.

use rayon::prelude::*;

use crate::Plane;
use crate::bits::{BitMask, shifted_down, shifted_up};
use crate::protocol::MsiouRule;

/// Cell sizes 1, 2, 4, ... 512.
pub const LEVELS: usize = 10;
/// Thresholds 0, 1, ... 256 of the curve; nothing is above the last.
pub const THRESHOLDS: usize = 257;

impl MsiouRule {
    /// `count + 1` as this rule has it.
    fn denominator(self, count: u64) -> f64 {
        match self {
            Self::Exact => (count + 1) as f64,
            Self::HalfNumpy1 => half(count as f64) + 1.,
            Self::HalfNumpy2 => half(half(count as f64) + 1.),
        }
    }
}

/// An integer of at most 53 bits, rounded to half precision.
fn half(value: f64) -> f64 {
    if value.is_infinite() {
        return value;
    }
    let mut step = 1.;
    while value / step >= 2048. {
        step *= 2.;
    }
    let rounded = (value / step).round_ties_even() * step;
    if rounded >= 65_536. { f64::INFINITY } else { rounded }
}

/// The pixels where the 3x3 Sobel response of a mask, zero outside, is not zero in x or in y.
pub fn edges(mask: &BitMask) -> BitMask {
    let zeros = vec![0; mask.stride()];
    // the number `a + 2 b + c` of three bits, in binary
    let sum = |a: u64, b: u64, c: u64| [a ^ c, (a & c) ^ b, a & b & c];
    let differ = |p: [u64; 3], q: [u64; 3]| (p[0] ^ q[0]) | (p[1] ^ q[1]) | (p[2] ^ q[2]);
    mask.map_rows(|up, here, down, out| {
        let (up, down) = (up.unwrap_or(&zeros), down.unwrap_or(&zeros));
        for i in 0..here.len() {
            let (nw, ne) = (shifted_up(up, i), shifted_down(up, i));
            let (sw, se) = (shifted_up(down, i), shifted_down(down, i));
            let across = differ(sum(nw, shifted_up(here, i), sw), sum(ne, shifted_down(here, i), se));
            let along = differ(sum(nw, up[i], ne), sum(sw, down[i], se));
            out[i] = across | along;
        }
    })
}

/// The edges of a mask in cells of 1, 2, 4, ... pixels. Cells are aligned at the lower right corner, so the masks here
/// are turned by 180 degrees.
pub struct EdgePyramid {
    width: usize,
    height: usize,
    levels: Vec<BitMask>,
}

impl EdgePyramid {
    /// Of a mask.
    pub fn new(mask: &BitMask) -> Self {
        let mut levels = vec![turned(&edges(mask))];
        for level in 1..LEVELS {
            levels.push(halved(&levels[level - 1]));
        }
        Self { width: mask.width(), height: mask.height(), levels }
    }

    /// Cells with edges, by level.
    pub fn counts(&self) -> [u64; LEVELS] {
        std::array::from_fn(|level| self.levels[level].count())
    }
}

/// The mask turned by 180 degrees.
fn turned(mask: &BitMask) -> BitMask {
    let mut out = BitMask::new(mask.width(), mask.height());
    let stride = mask.stride();
    let pad = 64 * stride - mask.width();
    for (y, row) in out.words_mut().chunks_exact_mut(stride).enumerate() {
        let source = mask.row(mask.height() - 1 - y);
        let word = |i: usize| source[stride - 1 - i].reverse_bits();
        for (i, out) in row.iter_mut().enumerate() {
            let next = if i + 1 < stride && pad > 0 { word(i + 1) << (64 - pad) } else { 0 };
            *out = word(i) >> pad | next;
        }
    }
    out
}

/// Each 2x2 cell as one pixel, set if one of the four is.
fn halved(mask: &BitMask) -> BitMask {
    let mut out = BitMask::new(mask.width().div_ceil(2), mask.height().div_ceil(2));
    let stride = out.stride();
    for (y, row) in out.words_mut().chunks_exact_mut(stride).enumerate() {
        let upper = mask.row(2 * y);
        let lower = if 2 * y + 1 < mask.height() { mask.row(2 * y + 1) } else { upper };
        let cells = |i: usize| upper.get(i).map_or(0, |&u| every_other(u | lower[i] | (u | lower[i]) >> 1));
        for (i, out) in row.iter_mut().enumerate() {
            *out = cells(2 * i) | cells(2 * i + 1) << 32;
        }
    }
    out
}

/// Bits 0, 2, 4, ... side by side.
fn every_other(mut x: u64) -> u64 {
    for (shift, mask) in [
        (0, 0x5555_5555_5555_5555),
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff_u64),
    ] {
        x = (x | x >> shift) & mask;
    }
    x
}

/// The ten ratios, smallest cells first: `(cells with both edges + 1) / (cells with the ground truth's + 1)`.
///
/// # Panics
/// When the sizes differ.
pub fn ratios(pred: &BitMask, gt: &EdgePyramid, rule: MsiouRule) -> [f64; LEVELS] {
    assert_eq!((pred.width(), pred.height()), (gt.width, gt.height), "masks of different sizes");
    let pred = EdgePyramid::new(pred);
    std::array::from_fn(|level| {
        let (p, g) = (&pred.levels[level], &gt.levels[level]);
        (p.count_and(g) + 1) as f64 / rule.denominator(g.count())
    })
}

/// Multi-scale IoU of a mask: the area under the ratios.
///
/// # Panics
/// When the sizes differ.
pub fn msiou(pred: &BitMask, gt: &EdgePyramid, rule: MsiouRule) -> f64 {
    area(&ratios(pred, gt, rule))
}

fn area(ratios: &[f64; LEVELS]) -> f64 {
    ratios.windows(2).map(|w| 1. / (LEVELS - 1) as f64 * (w[0] + w[1]) / 2.).sum()
}

/// Multi-scale IoU of the masks `level >= 0, 1, ... 256`, all in one pass over the image. `levels` maps the bytes of
/// `pred` to the levels that are compared.
///
/// # Panics
/// When the sizes differ.
pub fn msiou_curve(pred: Plane<'_>, levels: &[u8; 256], gt: &EdgePyramid, rule: MsiouRule) -> Vec<f64> {
    assert_eq!((pred.width(), pred.height()), (gt.width, gt.height), "images of different sizes");
    let padded = Padded::new(pred, levels);
    let prefixes: Vec<Set> = (0..=256).map(below).collect();
    let top = &gt.levels[LEVELS - 1];
    let cells: Vec<(usize, usize)> = (0..top.height()).flat_map(|y| (0..top.width()).map(move |x| (x, y))).collect();
    let none = || vec![[0u64; 256]; LEVELS];
    let hits = cells
        .into_par_iter()
        .fold(none, |mut hits, (x, y)| {
            Walk { gt, padded: &padded, prefixes: &prefixes, hits: &mut hits }.cell(LEVELS - 1, x, y);
            hits
        })
        .reduce(none, |mut a, b| {
            a.as_flattened_mut().iter_mut().zip(b.as_flattened()).for_each(|(a, b)| *a += b);
            a
        });
    let denominators = gt.counts().map(|count| rule.denominator(count));
    (0..THRESHOLDS)
        .map(|t| {
            area(&std::array::from_fn(|level| {
                (hits[level].get(t).copied().unwrap_or(0) + 1) as f64 / denominators[level]
            }))
        })
        .collect()
}

/// The image with a frame of pixels that are below every threshold.
struct Padded {
    stride: usize,
    pixels: Vec<i16>,
}

impl Padded {
    fn new(plane: Plane<'_>, levels: &[u8; 256]) -> Self {
        let stride = plane.width() + 2;
        let mut pixels = vec![-1; stride * (plane.height() + 2)];
        for (row, out) in plane.rows().zip(pixels[stride..].chunks_exact_mut(stride)) {
            for (v, out) in row.iter().zip(&mut out[1..]) {
                *out = i16::from(levels[usize::from(*v)]);
            }
        }
        Self { stride, pixels }
    }
}

/// Thresholds 0 to 255, a bit each.
type Set = [u64; 4];

/// The thresholds below `limit`.
fn below(limit: usize) -> Set {
    std::array::from_fn(|i| match limit.saturating_sub(64 * i) {
        0 => 0,
        n if n >= 64 => !0,
        n => (1 << n) - 1,
    })
}

fn unite(into: &mut Set, other: Set) {
    into.iter_mut().zip(other).for_each(|(a, b)| *a |= b);
}

/// Goes down to the pixels and up again, with the thresholds at which there is an edge.
struct Walk<'a> {
    gt: &'a EdgePyramid,
    padded: &'a Padded,
    prefixes: &'a [Set],
    /// Cells with both edges, `[level][threshold]`.
    hits: &'a mut [[u64; 256]],
}

impl Walk<'_> {
    /// The thresholds at which there is an edge in this cell.
    fn cell(&mut self, level: usize, x: usize, y: usize) -> Set {
        let wanted = self.gt.levels[level].get(x as isize, y as isize);
        // what is above a cell without the ground truth's edges asks only for the union
        if level == LEVELS - 1 && !wanted {
            return [0; 4];
        }
        let set = if level == 0 {
            self.pixel(self.gt.width - 1 - x, self.gt.height - 1 - y)
        } else {
            let (width, height) = (self.gt.levels[level - 1].width(), self.gt.levels[level - 1].height());
            let mut set = [0; 4];
            for y in 2 * y..(2 * y + 2).min(height) {
                for x in 2 * x..(2 * x + 2).min(width) {
                    unite(&mut set, self.cell(level - 1, x, y));
                }
            }
            set
        };
        if wanted {
            for (i, mut word) in set.into_iter().enumerate() {
                while word != 0 {
                    self.hits[level][64 * i + word.trailing_zeros() as usize] += 1;
                    word &= word - 1;
                }
            }
        }
        set
    }

    /// The thresholds at which pixel `(x, y)` is an edge.
    ///
    /// The Sobel response in x is zero at a threshold if as many of the left pixels reach it as of the right ones, the
    /// middle ones counted twice. Sorted, the two fours differ in their i-th pixel for the thresholds between the two.
    fn pixel(&self, x: usize, y: usize) -> Set {
        let at = y * self.padded.stride + x;
        let row = |r: usize| <[i16; 3]>::try_from(&self.padded.pixels[at + r * self.padded.stride..][..3]);
        let (Ok([nw, n, ne]), Ok([w, _, e]), Ok([sw, s, se])) = (row(0), row(1), row(2)) else { return [0; 4] };
        let mut set = [0; 4];
        for (a, b) in [([nw, w, w, sw], [ne, e, e, se]), ([nw, n, n, ne], [sw, s, s, se])] {
            if a == b {
                continue;
            }
            for (p, q) in sorted(a).into_iter().zip(sorted(b)) {
                // one of the prefixes holds the other
                let (p, q) = (self.prefixes[(p + 1) as usize], self.prefixes[(q + 1) as usize]);
                unite(&mut set, std::array::from_fn(|i| p[i] ^ q[i]));
            }
        }
        set
    }
}

fn sorted([a, b, c, d]: [i16; 4]) -> [i16; 4] {
    let (a, b) = (a.min(b), a.max(b));
    let (c, d) = (c.min(d), c.max(d));
    let (a, c) = (a.min(c), a.max(c));
    let (b, d) = (b.min(d), b.max(d));
    [a, b.min(c), b.max(c), d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: usize, height: usize, levels: u8) -> Vec<u8> {
        let mut s = (width * 1000 + height) as u64;
        (0..width * height)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 40) as u8 % levels * (255 / (levels - 1))
            })
            .collect()
    }

    #[test]
    fn edges_equal_arithmetic() {
        for (width, height) in [(1, 1), (1, 9), (70, 1), (65, 20), (128, 7)] {
            let data = noise(width, height, 2);
            let mask = BitMask::above(Plane::new(&data, width, height).unwrap(), 0);
            let edges = edges(&mask);
            for (y, x) in (0..height as isize).flat_map(|y| (0..width as isize).map(move |x| (y, x))) {
                let v = |dx, dy| i32::from(mask.get(x + dx, y + dy));
                let gx = v(1, -1) + 2 * v(1, 0) + v(1, 1) - v(-1, -1) - 2 * v(-1, 0) - v(-1, 1);
                let gy = v(-1, 1) + 2 * v(0, 1) + v(1, 1) - v(-1, -1) - 2 * v(0, -1) - v(1, -1);
                assert_eq!(edges.get(x, y), gx != 0 || gy != 0, "{width}x{height}: ({x}, {y})");
            }
        }
    }

    #[test]
    fn curve_equals_single_thresholds() {
        let identity = std::array::from_fn(|i| i as u8);
        for (width, height, levels) in [(1, 1, 2), (37, 70, 6), (130, 61, 64), (600, 9, 5)] {
            let data = noise(width, height, levels);
            let pred = Plane::new(&data, width, height).unwrap();
            let mut gt = noise(width, height, 2);
            gt[width * height / 2..].fill(0);
            let gt = EdgePyramid::new(&BitMask::above(Plane::new(&gt, width, height).unwrap(), 0));
            let curve = msiou_curve(pred, &identity, &gt, MsiouRule::Exact);
            assert_eq!(curve.len(), THRESHOLDS);
            for (t, value) in curve.into_iter().enumerate() {
                let mask = BitMask::from_fn(pred, |v| usize::from(v) >= t);
                assert_eq!(value, msiou(&mask, &gt, MsiouRule::Exact), "{width}x{height}, threshold {t}");
            }
        }
    }

    #[test]
    fn half_precision() {
        assert_eq!([0., 2047., 2048., 2049., 2051., 65_519.].map(half), [0., 2047., 2048., 2048., 2052., 65_504.]);
        assert_eq!(half(65_520.), f64::INFINITY);
        assert_eq!(MsiouRule::HalfNumpy1.denominator(2048), 2049.);
        assert_eq!(MsiouRule::HalfNumpy2.denominator(2048), 2048.);
        assert_eq!(MsiouRule::HalfNumpy2.denominator(178_642), f64::INFINITY);
    }
}
