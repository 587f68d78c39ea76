//! The masks of SAM's family of cases: ellipses, some with a bar across.

use seg_golden::inputs::ellipse;

/// Centre and radii, as parts of the sides, of the masks of a batch; the batch goes round them again.
type Ellipses = [[f64; 4]; 2];

/// The ellipses of a salt: the cases' own and the held-out ones.
fn ellipses(salt: &str, own: Ellipses, held_out: Ellipses) -> Ellipses {
    if salt.is_empty() { own } else { held_out }
}

/// The mask of image `index`, 0 or 1 a pixel.
pub(super) fn mask(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    let all = ellipses(
        salt,
        [[0.45, 0.55, 0.3, 0.25], [0.6, 0.4, 0.2, 0.35]],
        [[0.5, 0.5, 0.45, 0.1], [0.3, 0.3, 0.22, 0.27]],
    );
    drawn(all[index % 2], h, w)
}

/// The label of image `index` of DIS-SAM's training case, 0 or 1 a pixel: not quite its mask.
pub(super) fn training_label(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    let all = ellipses(
        salt,
        [[0.47, 0.52, 0.32, 0.24], [0.58, 0.43, 0.21, 0.33]],
        [[0.5, 0.5, 0.4, 0.12], [0.33, 0.3, 0.2, 0.3]],
    );
    drawn(all[index % 2], h, w)
}

/// [`mask`] with a bar across it.
pub(super) fn barred_mask(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    barred(mask(salt, index, h, w), h, w)
}

/// A mask with a bar of three rows across it.
pub(super) fn barred(mut mask: Vec<u8>, h: usize, w: usize) -> Vec<u8> {
    let part = |of: f64, side: usize| (of * side as f64) as usize;
    let (top, from, to) = (part(0.7, h), part(0.1, w), part(0.95, w));
    for row in mask.chunks_mut(w).skip(top).take(3) {
        row[from..to].fill(1);
    }
    mask
}

fn drawn([cx, cy, rx, ry]: [f64; 4], h: usize, w: usize) -> Vec<u8> {
    ellipse((cx, cy), (rx, ry), h, w)
}

/// The box around a mask of `w` columns, 0 or 1 a pixel, without its last row and column.
pub(super) fn open_box(mask: &[u8], w: usize) -> Vec<u8> {
    let inside = || mask.iter().enumerate().filter(|&(_, &v)| v > 0).map(|(i, _)| i);
    let extent = |of: fn(usize, usize) -> usize| {
        inside().map(|i| of(i, w)).fold(None, |range: Option<(usize, usize)>, v| match range {
            None => Some((v, v)),
            Some((low, high)) => Some((low.min(v), high.max(v))),
        })
    };
    let (Some(rows), Some(columns)) = (extent(|i, w| i / w), extent(|i, w| i % w)) else { return vec![0; mask.len()] };
    let within = |(low, high): (usize, usize), v: usize| v >= low && v < high;
    (0..mask.len()).map(|i| u8::from(within(rows, i / w) && within(columns, i % w))).collect()
}
