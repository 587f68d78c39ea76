//! Extents of binary masks, and distances to them. Plain slices in and out.

use rayon::prelude::*;

use crate::error::Result;
use crate::mask::check_len;

/// The smallest rectangle around all pixels that are not 0: left, top, right, bottom, the last two exclusive. `None` for an
/// empty mask.
///
/// # Errors
/// When `mask.len()` is not `width * height`.
pub fn extent(mask: &[u8], width: u32, height: u32) -> Result<Option<[u32; 4]>> {
    check_len("the mask's length", mask.len(), width, height)?;
    let mut found: Option<[u32; 4]> = None;
    for (y, row) in mask.chunks_exact((width as usize).max(1)).enumerate() {
        let inside = |v: &u8| *v != 0;
        let (Some(first), Some(last)) = (row.iter().position(inside), row.iter().rposition(inside)) else { continue };
        let (first, last, y) = (first as u32, last as u32 + 1, y as u32);
        let [x0, y0, x1, _] = found.unwrap_or([first, y, last, y]);
        found = Some([x0.min(first), y0, x1.max(last), y + 1]);
    }
    Ok(found)
}

/// Distance in pixels from the middle of each pixel to that of the nearest one that is not 0; infinite for an empty mask.
///
/// Exact and Euclidean, in a time that grows with the number of pixels alone (Felzenszwalb and Huttenlocher, *Distance
/// Transforms of Sampled Functions*, 2012).
///
/// # Errors
/// When `mask.len()` is not `width * height`.
pub fn distance(mask: &[u8], width: u32, height: u32) -> Result<Vec<f32>> {
    check_len("the mask's length", mask.len(), width, height)?;
    let w = (width as usize).max(1);
    // down each column and up again: the distance within the column
    let mut out: Vec<f32> = mask.iter().map(|&v| if v == 0 { f32::INFINITY } else { 0. }).collect();
    for i in w..out.len() {
        out[i] = out[i].min(out[i - w] + 1.);
    }
    for i in (0..out.len().saturating_sub(w)).rev() {
        out[i] = out[i].min(out[i + w] + 1.);
    }
    out.par_chunks_mut(w).for_each_init(
        || (Vec::new(), Vec::new()),
        |(parabolas, column), row| {
            along_row(row, column, parabolas);
        },
    );
    Ok(out)
}

/// `row[x] = min over i of √((x - i)² + row[i]²)`: the lower envelope of parabolas, from left to right.
fn along_row(row: &mut [f32], column: &mut Vec<f32>, parabolas: &mut Vec<(usize, f32)>) {
    column.clear();
    column.extend_from_slice(row);
    parabolas.clear(); // position of the vertex, and from where on it is the lowest
    // in f64, as squares of positions beyond 4096 have no place in f32
    let square = |i: usize| f64::from(column[i]).powi(2);
    for i in (0..column.len()).filter(|&i| column[i].is_finite()) {
        let mut from = f32::NEG_INFINITY;
        while let Some(&(j, since)) = parabolas.last() {
            let rise = square(i) - square(j) + (i * i) as f64 - (j * j) as f64;
            from = (rise / (2 * (i - j)) as f64) as f32;
            if from > since {
                break;
            }
            parabolas.pop();
            from = f32::NEG_INFINITY;
        }
        parabolas.push((i, from));
    }
    let mut lowest = 0;
    for (x, out) in row.iter_mut().enumerate() {
        while parabolas.get(lowest + 1).is_some_and(|&(_, from)| from < x as f32) {
            lowest += 1;
        }
        if let Some(&(i, _)) = parabolas.get(lowest) {
            *out = ((x.abs_diff(i) as f64).powi(2) + square(i)).sqrt() as f32;
        }
    }
}
