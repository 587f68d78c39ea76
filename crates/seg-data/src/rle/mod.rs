//! COCO run-length encoding, as pycocotools writes and reads it (`common/maskApi.c`).
//!
//! Runs go down the columns, left to right, and begin with a run of zeros (possibly of length 0). The compressed string
//! stores each run from the fourth on as the difference from the run two before, in groups of 5 bits, lowest first, one
//! ASCII character a group (48 + bits + 32 if more follow).

mod polygon;

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};

/// Largest `width * height` that is accepted: 2^30.
pub const MAX_AREA: u64 = 1 << 30;

/// A binary mask as runs. Always sound: the runs add up to `width * height`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    width: u32,
    height: u32,
    counts: Vec<u32>,
}

/// The JSON form: `{"size": [height, width], "counts": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CocoRle {
    /// `[height, width]` in pixels.
    pub size: [u32; 2],
    /// The compressed string.
    pub counts: String,
}

impl Rle {
    /// Encodes a row-major mask of `height * width` bytes; anything but 0 is inside.
    ///
    /// # Errors
    /// When the length is not `width * height`, or that exceeds [`MAX_AREA`].
    pub fn encode(mask: &[u8], width: u32, height: u32) -> Result<Self> {
        check_area(width, height)?;
        crate::mask::check_len("the mask's length", mask.len(), width, height)?;
        let (w, h) = (width as usize, height as usize);
        let mut runs = Runs::default();
        // Columns are turned into rows a block at a time: reading them one by one would miss the cache on each pixel.
        const BLOCK: usize = 64;
        let mut block = vec![false; BLOCK * h];
        for x0 in (0..w).step_by(BLOCK) {
            let n = BLOCK.min(w - x0);
            for (y, row) in mask.chunks_exact(w).enumerate() {
                for (i, &v) in row[x0..x0 + n].iter().enumerate() {
                    block[i * h + y] = v != 0;
                }
            }
            block[..n * h].iter().for_each(|&v| runs.push(v, 1));
        }
        Ok(Self { width, height, counts: runs.finish() })
    }

    /// From run lengths, zeros first.
    ///
    /// # Errors
    /// When they do not add up to `width * height`, or that exceeds [`MAX_AREA`].
    pub fn from_counts(counts: Vec<u32>, width: u32, height: u32) -> Result<Self> {
        let area = check_area(width, height)?;
        let sum: u64 = counts.iter().map(|&c| u64::from(c)).sum();
        if sum != area {
            return Err(DataError::rle(format!("the runs add up to {sum}, expected {width}x{height} = {area}")));
        }
        Ok(Self { width, height, counts })
    }

    /// From the compressed string.
    ///
    /// # Errors
    /// Characters outside `'0'..='o'`, a run that is negative, too long or cut off, more runs than pixels, a wrong sum.
    pub fn from_string(string: &str, width: u32, height: u32) -> Result<Self> {
        let area = check_area(width, height)?;
        let mut counts: Vec<u32> = Vec::new();
        let (mut sum, mut value, mut shift) = (0u64, 0i64, 0u32);
        for (at, byte) in string.bytes().enumerate() {
            if !(48..112).contains(&byte) {
                return Err(DataError::rle(format!("byte {byte} at {at}, expected 48 to 111 ('0' to 'o')")));
            }
            let group = i64::from(byte - 48);
            if shift > 30 {
                return Err(DataError::rle(format!("the number ending at character {at} is too long")));
            }
            value |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 != 0 {
                continue;
            }
            if group & 0x10 != 0 {
                value |= -1 << shift;
            }
            if counts.len() > 2 {
                value += i64::from(counts[counts.len() - 2]);
            }
            let run = u32::try_from(value)
                .ok()
                .filter(|&run| sum + u64::from(run) <= area)
                .ok_or_else(|| DataError::rle(format!("run {} is {value}, {} remain", counts.len(), area - sum)))?;
            sum += u64::from(run);
            counts.push(run);
            (value, shift) = (0, 0);
        }
        if shift != 0 {
            return Err(DataError::rle("the string ends in the middle of a number"));
        }
        Self::from_counts(counts, width, height)
    }

    /// From the JSON form.
    ///
    /// # Errors
    /// As [`Rle::from_string`].
    pub fn from_coco(coco: &CocoRle) -> Result<Self> {
        Self::from_string(&coco.counts, coco.size[1], coco.size[0])
    }

    /// The JSON form.
    pub fn to_coco(&self) -> CocoRle {
        CocoRle { size: [self.height, self.width], counts: self.to_compressed() }
    }

    /// The compressed string, character by character what pycocotools writes.
    pub fn to_compressed(&self) -> String {
        let mut out = String::with_capacity(self.counts.len() * 2);
        for (i, &run) in self.counts.iter().enumerate() {
            let mut x = i64::from(run);
            if i > 2 {
                x -= i64::from(self.counts[i - 2]);
            }
            loop {
                let bits = (x & 0x1f) as u8;
                x >>= 5;
                // done when the rest is only copies of the sign bit
                let more = if bits & 0x10 != 0 { x != -1 } else { x != 0 };
                out.push(char::from(48 + bits + if more { 0x20 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        out
    }

    /// Row-major mask of `height * width` bytes: 1 inside, 0 outside.
    pub fn decode(&self) -> Vec<u8> {
        let (w, h) = (self.width as usize, self.height as usize);
        let mut mask = vec![0u8; w * h];
        for (start, len) in self.foreground() {
            let (mut x, mut y) = ((start / h as u64) as usize, (start % h as u64) as usize);
            for _ in 0..len {
                mask[y * w + x] = 1;
                y += 1;
                if y == h {
                    (x, y) = (x + 1, 0);
                }
            }
        }
        mask
    }

    /// Run lengths, zeros first.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// `(width, height)` in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Pixels inside.
    pub fn area(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).map(|&c| u64::from(c)).sum()
    }

    /// `[x, y, width, height]` in pixels of the smallest box around the inside; all 0 when there is none.
    pub fn bbox(&self) -> [u32; 4] {
        let h = u64::from(self.height);
        let (mut x0, mut y0, mut x1, mut y1) = (u64::MAX, u64::MAX, 0, 0);
        for (start, len) in self.foreground() {
            let last = start + len - 1;
            let (xs, xe) = (start / h, last / h);
            x0 = x0.min(xs);
            x1 = x1.max(xe);
            // a run that goes on in the next column touches the bottom and the top
            let (ys, ye) = if xs == xe { (start % h, last % h) } else { (0, h - 1) };
            y0 = y0.min(ys);
            y1 = y1.max(ye);
        }
        if x0 == u64::MAX {
            return [0; 4];
        }
        [x0 as u32, y0 as u32, (x1 - x0 + 1) as u32, (y1 - y0 + 1) as u32]
    }

    /// Pixels inside both.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn intersection(&self, other: &Self) -> Result<u64> {
        if self.dimensions() != other.dimensions() {
            return Err(DataError::rle(format!(
                "masks of {}x{} and {}x{} cannot be compared",
                self.width, self.height, other.width, other.height
            )));
        }
        let (mut a, mut b) = (self.foreground().peekable(), other.foreground().peekable());
        let mut sum = 0;
        while let (Some(&(sa, la)), Some(&(sb, lb))) = (a.peek(), b.peek()) {
            let (ea, eb) = (sa + la, sb + lb);
            sum += ea.min(eb).saturating_sub(sa.max(sb));
            if ea <= eb {
                a.next();
            } else {
                b.next();
            }
        }
        Ok(sum)
    }

    /// Intersection over union in 0..1; 0 when both are empty, as pycocotools has it.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn iou(&self, other: &Self) -> Result<f64> {
        let both = self.intersection(other)?;
        let either = self.area() + other.area() - both;
        Ok(if either == 0 { 0.0 } else { both as f64 / either as f64 })
    }

    /// `(start, length)` of each non-empty run inside, counted down the columns.
    fn foreground(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = 0u64;
        self.counts.iter().enumerate().filter_map(move |(i, &c)| {
            let start = at;
            at += u64::from(c);
            (i % 2 == 1 && c > 0).then_some((start, u64::from(c)))
        })
    }
}

fn check_area(width: u32, height: u32) -> Result<u64> {
    let area = u64::from(width) * u64::from(height);
    if area > MAX_AREA {
        return Err(DataError::rle(format!("the mask is {width}x{height}, expected at most {MAX_AREA} pixels")));
    }
    Ok(area)
}

/// Collects equal values into runs that begin with `false`.
#[derive(Default)]
struct Runs {
    counts: Vec<u32>,
    value: bool,
    length: u32,
}

impl Runs {
    fn push(&mut self, value: bool, n: u32) {
        if value != self.value {
            self.counts.push(self.length);
            (self.value, self.length) = (value, 0);
        }
        self.length += n;
    }

    fn finish(mut self) -> Vec<u32> {
        self.counts.push(self.length);
        self.counts
    }
}
