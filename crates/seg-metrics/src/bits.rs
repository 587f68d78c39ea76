//! Binary masks of 64 pixels a word, and the operations on whole words that the metrics need.

use crate::Plane;

/// A binary mask: bit `x % 64` of word `x / 64` of a row is pixel `x`. Bits beyond the width are always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitMask {
    width: usize,
    height: usize,
    /// Words in a row.
    stride: usize,
    words: Vec<u64>,
}

impl BitMask {
    /// A mask without set pixels.
    pub fn new(width: usize, height: usize) -> Self {
        let stride = width.div_ceil(64);
        Self { width, height, stride, words: vec![0; stride * height] }
    }

    /// The pixels of a plane that are above `threshold`.
    pub fn above(plane: Plane<'_>, threshold: u8) -> Self {
        Self::from_fn(plane, |v| v > threshold)
    }

    /// The pixels of a plane for which `set` holds.
    pub fn from_fn(plane: Plane<'_>, set: impl Fn(u8) -> bool) -> Self {
        let mut mask = Self::new(plane.width(), plane.height());
        for (row, words) in plane.rows().zip(mask.words.chunks_exact_mut(mask.stride)) {
            let (whole, rest) = row.as_chunks::<64>();
            for (pixels, word) in whole.iter().zip(&mut *words) {
                *word = pack(pixels, &set);
            }
            if let (Some(word), false) = (words.last_mut(), rest.is_empty()) {
                let mut pixels = [0; 64];
                pixels[..rest.len()].copy_from_slice(rest);
                *word = pack(&pixels, &set) & range_word(0, 0, rest.len());
            }
        }
        mask
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The words of row `y`.
    pub fn row(&self, y: usize) -> &[u64] {
        &self.words[y * self.stride..][..self.stride]
    }

    fn row_mut(&mut self, y: usize) -> &mut [u64] {
        &mut self.words[y * self.stride..][..self.stride]
    }

    /// Pixel `(x, y)`; outside the mask, `false`.
    pub fn get(&self, x: isize, y: isize) -> bool {
        (0..self.width as isize).contains(&x)
            && (0..self.height as isize).contains(&y)
            && self.words[y as usize * self.stride + x as usize / 64] >> (x % 64) & 1 == 1
    }

    /// Sets pixel `(x, y)`.
    pub fn set(&mut self, x: usize, y: usize) {
        debug_assert!(x < self.width);
        self.row_mut(y)[x / 64] |= 1 << (x % 64);
    }

    /// Clears pixel `(x, y)`.
    pub fn clear(&mut self, x: usize, y: usize) {
        debug_assert!(x < self.width);
        self.row_mut(y)[x / 64] &= !(1 << (x % 64));
    }

    /// Set pixels.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// Pixels set in both.
    pub fn count_and(&self, other: &Self) -> u64 {
        self.pairs(other).map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }

    /// Pixels set in either.
    pub fn count_or(&self, other: &Self) -> u64 {
        self.pairs(other).map(|(a, b)| u64::from((a | b).count_ones())).sum()
    }

    /// Whether no pixel is set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&w| w == 0)
    }

    /// Whether every pixel is set.
    pub fn is_full(&self) -> bool {
        self.count() == (self.width * self.height) as u64
    }

    /// Pixels set in both.
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Pixels set in either.
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// Pixels set here and not there.
    pub fn and_not(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    /// Pixels set in one of the two.
    pub fn xor(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a ^ b)
    }

    /// The other pixels.
    pub fn not(&self) -> Self {
        let mut out = self.clone();
        out.words.iter_mut().for_each(|w| *w = !*w);
        out.trim();
        out
    }

    /// The set pixels in raster order, as runs `(y, start, end)` of neighbours in a row.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        (0..self.height).flat_map(|y| row_runs(self.row(y)).map(move |(start, end)| (y, start, end)))
    }

    /// One step of erosion with the 3x3 cross. What lies outside counts as set.
    pub fn erode_cross(&self) -> Self {
        let last = self.stride - 1;
        let edge = 1u64 << ((self.width - 1) % 64);
        self.map_rows(|up, mid, down, out| {
            for i in 0..mid.len() {
                let m = mid[i];
                let left = m << 1 | if i == 0 { 1 } else { mid[i - 1] >> 63 };
                let right = m >> 1 | if i == last { edge } else { mid[i + 1] << 63 };
                out[i] = m & left & right & up.map_or(!0, |r| r[i]) & down.map_or(!0, |r| r[i]);
            }
        })
    }

    /// One step of dilation with the 3x3 cross, kept where `keep` is set.
    ///
    /// # Panics
    /// When the sizes differ.
    pub fn dilate_cross_within(&self, keep: &Self) -> Self {
        self.assert_size(keep);
        let mut out = self.dilate_cross();
        out.words.iter_mut().zip(&keep.words).for_each(|(w, k)| *w &= k);
        out
    }

    /// One step of dilation with the 3x3 cross.
    pub fn dilate_cross(&self) -> Self {
        let mut out = self.map_rows(|up, mid, down, out| {
            for i in 0..mid.len() {
                let (left, right) = (shifted_up(mid, i), shifted_down(mid, i));
                out[i] = mid[i] | left | right | up.map_or(0, |r| r[i]) | down.map_or(0, |r| r[i]);
            }
        });
        out.trim();
        out
    }

    /// Erosion with the square of side `2 radius + 1`; what lies outside counts as not set.
    pub fn erode_square(&self, radius: usize) -> Self {
        // an erosion is the dilation of the other pixels, here with a frame of them
        let mut out = self.not().dilate_box(radius, radius).not();
        let (inner_w, inner_h) = (self.width.saturating_sub(radius), self.height.saturating_sub(radius));
        if inner_w <= radius || inner_h <= radius {
            return Self::new(self.width, self.height);
        }
        let (stride, height) = (out.stride, out.height);
        for (y, row) in out.words.chunks_exact_mut(stride).enumerate() {
            if y < radius || y >= height - radius {
                row.fill(0);
            } else {
                (0..stride).for_each(|i| row[i] &= range_word(i, radius, inner_w));
            }
        }
        out
    }

    /// Dilation with the rectangle of sides `2 across + 1` and `2 down + 1`.
    fn dilate_box(&self, across: usize, down: usize) -> Self {
        let mut out = self.dilate_rows(across);
        // moved by more than r + 1, windows of r rows to either side would lose what has left the mask
        let mut reach = 0;
        while reach < down {
            let step = (reach + 1).min(down - reach);
            let source = out.clone();
            for y in 0..out.height {
                for from in [y.checked_sub(step), Some(y + step).filter(|&f| f < out.height)].into_iter().flatten() {
                    out.row_mut(y).iter_mut().zip(source.row(from)).for_each(|(o, s)| *o |= s);
                }
            }
            reach += step;
        }
        out
    }

    /// Dilation along the rows by `reach` pixels to either side.
    fn dilate_rows(&self, reach: usize) -> Self {
        let mut out = self.clone();
        let mut source = vec![0; self.stride];
        for row in out.words.chunks_exact_mut(self.stride) {
            widen(row, &mut source, 0, reach);
        }
        out.trim();
        out
    }

    /// Dilation with an element that is symmetric in both axes: `half_widths[dy]` is how far its rows `dy` and `-dy`
    /// reach to either side. What lies outside counts as not set.
    pub fn dilate_spans(&self, half_widths: &[usize]) -> Self {
        let mut out = Self::new(self.width, self.height);
        // the narrowest rows first: a wider one is widened from the one before
        let mut order: Vec<usize> = (0..half_widths.len()).collect();
        order.sort_by_key(|&dy| half_widths[dy]);
        let (mut wide, mut scratch) = (vec![0; self.stride], vec![0; self.stride]);
        for y in 0..self.height {
            if self.row(y).iter().all(|&w| w == 0) {
                continue;
            }
            wide.copy_from_slice(self.row(y));
            let mut reach = 0;
            for &dy in &order {
                widen(&mut wide, &mut scratch, reach, half_widths[dy]);
                reach = half_widths[dy];
                for to in [y.checked_sub(dy), Some(y + dy).filter(|&t| t < self.height && dy > 0)].into_iter().flatten()
                {
                    out.row_mut(to).iter_mut().zip(&wide).for_each(|(o, w)| *o |= w);
                }
            }
        }
        out.trim();
        out
    }

    /// Erosion with such an element; what lies outside counts as set.
    pub fn erode_spans(&self, half_widths: &[usize]) -> Self {
        self.not().dilate_spans(half_widths).not()
    }

    /// Each pixel with a function of the rows above, of and below it, as whole words: `(up, mid, down, out)`.
    pub fn map_rows(&self, mut f: impl FnMut(Option<&[u64]>, &[u64], Option<&[u64]>, &mut [u64])) -> Self {
        let mut out = Self::new(self.width, self.height);
        for y in 0..self.height {
            let up = y.checked_sub(1).map(|y| self.row(y));
            let down = Some(y + 1).filter(|&y| y < self.height).map(|y| self.row(y));
            f(up, self.row(y), down, out.row_mut(y));
        }
        out.trim();
        out
    }

    /// The words of all rows. The bits beyond the width have to stay 0.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Words in a row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    fn pairs<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.assert_size(other);
        self.words.iter().copied().zip(other.words.iter().copied())
    }

    fn combine(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let words = self.pairs(other).map(|(a, b)| f(a, b)).collect();
        Self { words, ..*self }
    }

    fn assert_size(&self, other: &Self) {
        assert_eq!((self.width, self.height), (other.width, other.height), "masks of different sizes");
    }

    /// Clears the bits beyond the width.
    fn trim(&mut self) {
        let keep = range_word(self.stride - 1, 0, self.width);
        self.words.iter_mut().skip(self.stride - 1).step_by(self.stride).for_each(|w| *w &= keep);
    }
}

/// 64 pixels as one word.
#[inline(always)]
fn pack(pixels: &[u8; 64], set: &impl Fn(u8) -> bool) -> u64 {
    let bytes = pixels.map(|v| u8::from(set(v)));
    let mut word = 0;
    for (i, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
        // the lowest bits of the eight bytes come together in the top byte, the first lowest
        word |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}

/// Word `i` of a row with the pixels `from..to` set.
fn range_word(i: usize, from: usize, to: usize) -> u64 {
    let below = |x: usize| match x.saturating_sub(64 * i) {
        0 => 0,
        n if n >= 64 => !0,
        n => (1u64 << n) - 1,
    };
    below(to) & !below(from)
}

/// Word `i` of the row moved one pixel to the right: each pixel has its left neighbour's value.
pub(crate) fn shifted_up(row: &[u64], i: usize) -> u64 {
    row[i] << 1 | if i == 0 { 0 } else { row[i - 1] >> 63 }
}

/// Word `i` of the row moved one pixel to the left: each pixel has its right neighbour's value.
pub(crate) fn shifted_down(row: &[u64], i: usize) -> u64 {
    row[i] >> 1 | row.get(i + 1).map_or(0, |w| w << 63)
}

/// Widens a row that has been widened by `from` pixels to either side to `to` pixels. Sets bits beyond the width.
fn widen(row: &mut [u64], source: &mut [u64], from: usize, to: usize) {
    let mut reach = from;
    while reach < to {
        // moved by more than r + 1, a row widened by r would lose what has left the row
        let step = (reach + 1).min(to - reach);
        source.copy_from_slice(row);
        let (words, bits) = (step / 64, step % 64);
        for (i, word) in row.iter_mut().enumerate() {
            let up = |k: usize| i.checked_sub(k).map_or(0, |j| source[j]);
            let down = |k: usize| source.get(i + k).copied().unwrap_or(0);
            *word |= match bits {
                0 => up(words) | down(words),
                b => up(words) << b | up(words + 1) >> (64 - b) | down(words) >> b | down(words + 1) << (64 - b),
            };
        }
        reach += step;
    }
}

/// Runs `(start, end)` of set bits in a row of words.
pub(crate) fn row_runs(row: &[u64]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let bits = 64 * row.len();
    let mut x = 0;
    std::iter::from_fn(move || {
        let start = next_bit(row, x, false)?;
        let end = next_bit(row, start, true).unwrap_or(bits);
        x = end;
        Some((start, end))
    })
}

/// The first bit at or after `x` that is set, or with `inverted` not set.
fn next_bit(row: &[u64], x: usize, inverted: bool) -> Option<usize> {
    let flip = if inverted { !0 } else { 0 };
    let first = x / 64;
    let mut word = (row.get(first)? ^ flip) & (!0 << (x % 64));
    let mut i = first;
    while word == 0 {
        i += 1;
        word = row.get(i)? ^ flip;
    }
    Some(64 * i + word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(usize, usize); 5] = [(1, 1), (64, 3), (65, 40), (7, 90), (200, 50)];

    fn noise(width: usize, height: usize, one_in: u64) -> BitMask {
        let mut s = (width + 1000 * height) as u64 + one_in;
        let data: Vec<u8> = (0..width * height)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                u8::from((s >> 33).is_multiple_of(one_in))
            })
            .collect();
        BitMask::above(Plane::new(&data, width, height).unwrap(), 0)
    }

    /// Pixel by pixel.
    fn by_pixel(width: usize, height: usize, set: impl Fn(isize, isize) -> bool) -> BitMask {
        let mut mask = BitMask::new(width, height);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            if set(x as isize, y as isize) {
                mask.set(x, y);
            }
        }
        mask
    }

    /// Whether a pixel of a neighbourhood is set, `reach[dy]` to either side in the rows `dy` above and below.
    fn any(mask: &BitMask, x: isize, y: isize, reach: &[usize]) -> bool {
        let r = reach.len() as isize - 1;
        (-r..=r).any(|dy| {
            let w = reach[dy.unsigned_abs()] as isize;
            (-w..=w).any(|dx| mask.get(x + dx, y + dy))
        })
    }

    #[test]
    fn packing_keeps_pixels() {
        for (width, height) in SIZES {
            let data: Vec<u8> = (0..width * height).map(|i| (i * 37 % 251) as u8).collect();
            let plane = Plane::new(&data, width, height).unwrap();
            let mask = BitMask::above(plane, 100);
            assert_eq!(mask, by_pixel(width, height, |x, y| data[y as usize * width + x as usize] > 100));
            assert_eq!(mask.count(), data.iter().filter(|&&v| v > 100).count() as u64);
            let (all, none) = (BitMask::from_fn(plane, |_| true), BitMask::new(width, height));
            assert!(all.is_full() && none.is_empty() && all.not() == none && none.not() == all);
        }
    }

    #[test]
    fn cross() {
        for (width, height) in SIZES {
            let mask = noise(width, height, 3);
            let cross = [1, 0];
            assert_eq!(mask.dilate_cross(), by_pixel(width, height, |x, y| any(&mask, x, y, &cross)));
            let dense = mask.not();
            assert_eq!(dense.erode_cross(), by_pixel(width, height, |x, y| !any(&mask, x, y, &cross)));
            let keep = noise(width, height, 2);
            assert_eq!(mask.dilate_cross_within(&keep), mask.dilate_cross().and(&keep));
        }
    }

    #[test]
    fn squares_and_spans() {
        for (width, height) in SIZES {
            let mask = noise(width, height, 60);
            for radius in [0, 1, 2, 5, 9, 31] {
                let inside = |x: isize, y: isize| {
                    let r = radius as isize;
                    x >= r && y >= r && x + r < width as isize && y + r < height as isize
                };
                let square = vec![radius; radius + 1];
                assert_eq!(
                    mask.not().erode_square(radius),
                    by_pixel(width, height, |x, y| inside(x, y) && !any(&mask, x, y, &square)),
                    "{width}x{height}, {radius}"
                );
                let disc: Vec<usize> = (0..=radius).map(|dy| (radius * radius - dy * dy).isqrt()).collect();
                let dilated = by_pixel(width, height, |x, y| any(&mask, x, y, &disc));
                assert_eq!(mask.dilate_spans(&disc), dilated, "{width}x{height}, {radius}");
                assert_eq!(mask.not().erode_spans(&disc), dilated.not(), "{width}x{height}, {radius}");
            }
        }
    }

    #[test]
    fn runs_are_the_set_pixels() {
        for (width, height) in SIZES {
            let mask = noise(width, height, 2);
            let mut again = BitMask::new(width, height);
            for (y, start, end) in mask.runs() {
                assert!(!mask.get(start as isize - 1, y as isize) && !mask.get(end as isize, y as isize));
                (start..end).for_each(|x| again.set(x, y));
            }
            assert_eq!(again, mask);
        }
    }
}
