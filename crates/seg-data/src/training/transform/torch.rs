//! `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`, without antialiasing: bit-equal to torch 2.5.1 on CPUs with fused products.

use rayon::prelude::*;

/// For each output position the two source positions and the weights of both.
struct Axis(Vec<[(usize, f32); 2]>);

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f32 / to as f32;
        let at = |i: usize| {
            let source = scale.mul_add(i as f32 + 0.5, -0.5).max(0.);
            let low = (source as usize).min(from - 1);
            let part = (source - low as f32).clamp(0., 1.);
            [(low, 1. - part), ((low + 1).min(from - 1), part)]
        };
        Self((0..to).map(at).collect())
    }
}

/// Bytes with `C` channels side by side, to planes of another size.
pub(super) fn bilinear<const C: usize>(src: &[u8], (w, h): (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let (columns, rows) = (Axis::new(w, to.0), Axis::new(h, to.1));
    let mut out = vec![0f32; C * to.0 * to.1];
    out.par_chunks_mut(to.0).enumerate().with_min_len(16).for_each(|(line, out)| {
        let (c, [(top, above), (bottom, below)]) = (line / to.1, rows.0[line % to.1]);
        let row = |y: usize| &src[y * w * C..][..w * C];
        let (top, bottom) = (row(top), row(bottom));
        for (value, [(left, before), (right, behind)]) in out.iter_mut().zip(&columns.0) {
            let at = |row: &[u8], x: usize| f32::from(row[x * C + c]);
            // the order of torch's sum, which its compiler fuses
            let sum = at(top, *right) * (above * behind);
            let sum = at(top, *left).mul_add(above * before, sum);
            let sum = at(bottom, *left).mul_add(below * before, sum);
            *value = at(bottom, *right).mul_add(below * behind, sum);
        }
    });
    out
}
