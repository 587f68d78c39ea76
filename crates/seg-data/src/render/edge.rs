//! A line of even width along a mask's edge.
//!
//! Each pixel's distance to the nearest pixel of the other side (inside or outside) is exact up to the reach that the
//! line needs: per row first, then the minimum over the rows within reach.

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::draw::{blend, cover};

/// Columns that are skipped together when nothing near them is of the other side.
const BLOCK: usize = 64;

/// What a block of one row holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Outside,
    Inside,
    Both,
}

/// Draws `colour` over the pixels whose centre lies within `half` of the edge, softly at the line's own borders.
pub(super) fn stroke(out: &mut RgbImage, mask: &GrayImage, half: f32, colour: [u8; 3]) {
    let (w, h) = (mask.width() as usize, mask.height() as usize);
    // the other side's nearest centre is half a pixel beyond the edge, and the soft border takes another half
    let reach = (half + 1.0).ceil().min(250.0) as usize;
    let rows = Rows::new(mask.as_raw(), w, reach);
    out.par_chunks_mut(3 * w).enumerate().for_each(|(y, out)| {
        for (b, out) in out.chunks_mut(3 * BLOCK).enumerate() {
            let Some(near) = rows.near(y, b, h) else { continue };
            for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
                let x = b * BLOCK + i;
                let far = &rows.distance[1 - usize::from(rows.inside[y * w + x])];
                let least = near.clone().map(|row| (row.abs_diff(y), usize::from(far[row * w + x])));
                let squared = least.map(|(dy, dx)| dy * dy + dx * dx).min().unwrap_or(usize::MAX);
                let depth = half - ((squared as f32).sqrt() - 0.5);
                if let (true, Ok(pixel)) = (depth > -0.5, <&mut [u8; 3]>::try_from(pixel)) {
                    blend(pixel, colour, cover(depth));
                }
            }
        }
    });
}

struct Rows {
    inside: Vec<bool>,
    /// `[0]` to the nearest outside pixel of the same row, `[1]` to the nearest inside one; capped at `reach + 1`.
    distance: [Vec<u8>; 2],
    sides: Vec<Side>,
    blocks: usize,
    reach: usize,
}

impl Rows {
    fn new(mask: &[u8], w: usize, reach: usize) -> Self {
        let inside: Vec<bool> = mask.par_iter().map(|&v| v >= 128).collect();
        let distance = [false, true].map(|side| {
            let mut out = vec![0u8; mask.len()];
            out.par_chunks_mut(w).zip(inside.par_chunks(w)).for_each(|(out, row)| sweep(out, row, side, reach + 1));
            out
        });
        let sides = inside.par_chunks(w).flat_map_iter(|row| row.chunks(BLOCK).map(side_of)).collect();
        Self { inside, distance, sides, blocks: w.div_ceil(BLOCK), reach }
    }

    /// The rows within reach of row `y`, or `None` when all that block `b` can see is on one side.
    fn near(&self, y: usize, b: usize, h: usize) -> Option<std::ops::Range<usize>> {
        let rows = y.saturating_sub(self.reach)..(y + self.reach + 1).min(h);
        // the reach may exceed a block
        let span = self.reach.div_ceil(BLOCK);
        let columns = b.saturating_sub(span)..(b + span + 1).min(self.blocks);
        let own = self.sides[y * self.blocks + b];
        let alone = own != Side::Both
            && rows.clone().all(|r| self.sides[r * self.blocks..][columns.clone()].iter().all(|&s| s == own));
        (!alone).then_some(rows)
    }
}

fn side_of(row: &[bool]) -> Side {
    match (row.contains(&true), row.contains(&false)) {
        (true, true) => Side::Both,
        (true, false) => Side::Inside,
        _ => Side::Outside,
    }
}

/// Distance along a row to the nearest pixel of `side`, capped.
fn sweep(out: &mut [u8], row: &[bool], side: bool, cap: usize) {
    let mut d = cap;
    for (o, &v) in out.iter_mut().zip(row) {
        d = if v == side { 0 } else { (d + 1).min(cap) };
        *o = d as u8;
    }
    d = cap;
    for (o, &v) in out.iter_mut().zip(row).rev() {
        d = if v == side { 0 } else { (d + 1).min(cap) };
        *o = (*o).min(d as u8);
    }
}
