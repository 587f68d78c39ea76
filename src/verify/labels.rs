//! The masks of SAM's family of cases: ellipses, some with a bar across.

use seg_golden::inputs::ellipse;

/// Centre and radii, as parts of the sides, of the two masks that a batch goes round: of the cases' own salt and of held-out ones.
struct Ellipses {
    own: [[f64; 4]; 2],
    held_out: [[f64; 4]; 2],
}

const MASKS: Ellipses = Ellipses {
    own: [[0.45, 0.55, 0.3, 0.25], [0.6, 0.4, 0.2, 0.35]],
    held_out: [[0.5, 0.5, 0.45, 0.1], [0.3, 0.3, 0.22, 0.27]],
};
/// Not quite the masks.
const TRAINING_LABELS: Ellipses = Ellipses {
    own: [[0.47, 0.52, 0.32, 0.24], [0.58, 0.43, 0.21, 0.33]],
    held_out: [[0.5, 0.5, 0.4, 0.12], [0.33, 0.3, 0.2, 0.3]],
};

impl Ellipses {
    /// That of image `index`, 0 or 1 a pixel.
    fn draw(&self, salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
        let [cx, cy, rx, ry] = if salt.is_empty() { self.own } else { self.held_out }[index % 2];
        ellipse((cx, cy), (rx, ry), h, w)
    }
}

/// The mask of image `index`, 0 or 1 a pixel.
pub(super) fn mask(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    MASKS.draw(salt, index, h, w)
}

/// The label of image `index` of DIS-SAM's training case, 0 or 1 a pixel.
pub(super) fn training_label(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    TRAINING_LABELS.draw(salt, index, h, w)
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

/// The box around a mask of `h` rows and `w` columns, 0 or 1 a pixel, without its last row and column.
pub(super) fn open_box(mask: &[u8], h: usize, w: usize) -> seg_data::Result<Vec<u8>> {
    let mut inside = vec![0; mask.len()];
    if let Some([x0, y0, x1, y1]) = seg_data::geometry::extent(mask, w as u32, h as u32)? {
        let (x0, x1) = (x0 as usize, x1 as usize - 1);
        for row in inside.chunks_mut(w).take(y1 as usize - 1).skip(y0 as usize) {
            row[x0..x1].fill(1);
        }
    }
    Ok(inside)
}
