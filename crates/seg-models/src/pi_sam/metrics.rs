//! The measures and the box prompt of Pi-SAM's validation (segment_anything/utils/misc.py of lmzpai/pi-sam), on plain slices.

/// Left, top, right, bottom of the pixels above 128 in a label of `width` pixels a row, the last ones included; `None` where there are none.
pub fn label_box(label: &[f32], width: usize) -> Option<[f32; 4]> {
    let mut found: Option<[usize; 4]> = None;
    for (at, _) in label.iter().enumerate().filter(|(_, v)| **v > 128.) {
        let (x, y) = (at % width, at / width);
        found = Some(match found {
            None => [x, y, x, y],
            Some([x0, y0, x1, y1]) => [x0.min(x), y0.min(y), x1.max(x), y1.max(y)],
        });
    }
    found.map(|corners| corners.map(|v| v as f32))
}

/// Shared pixels by all pixels, of those two masks together; NaN when both are empty.
fn overlap(a: &[bool], b: &[bool]) -> f64 {
    let count = |f: fn(bool, bool) -> bool| a.iter().zip(b).filter(|&(&a, &b)| f(a, b)).count() as f64;
    count(|a, b| a && b) / count(|a, b| a || b)
}

fn masks(logits: &[f32], label: &[f32]) -> (Vec<bool>, Vec<bool>) {
    (logits.iter().map(|&v| v > 0.).collect(), label.iter().map(|&v| v > 128.).collect())
}

/// Intersection over union of the pixels with a logit above 0 and those with a label (0..255) above 128; NaN when both are empty.
pub fn mask_iou(logits: &[f32], label: &[f32]) -> f64 {
    let (a, b) = masks(logits, label);
    overlap(&a, &b)
}

/// The same of the masks' boundaries: what a distance of 2 % of the diagonal takes away from each, the image's border being an edge, too
/// (arXiv 2103.16562). `width` pixels a row.
pub fn boundary_iou(logits: &[f32], label: &[f32], width: usize) -> f64 {
    let (a, b) = masks(logits, label);
    let height = logits.len().checked_div(width).unwrap_or(0);
    let diagonal = ((width * width + height * height) as f64).sqrt();
    // Python rounds halves to even
    let distance = ((0.02 * diagonal).round_ties_even() as usize).max(1);
    overlap(&boundary(&a, width, distance), &boundary(&b, width, distance))
}

/// The pixels that erosion by a square of `distance` pixels each way takes away.
fn boundary(mask: &[bool], width: usize, distance: usize) -> Vec<bool> {
    let height = mask.len().checked_div(width).unwrap_or(0);
    // a pixel stays when the run of set pixels around it reaches far enough, along rows, then along columns
    let mut kept = mask.to_vec();
    for row in kept.chunks_exact_mut(width.max(1)) {
        erode(row.len(), distance, |i| row[i]).into_iter().zip(row).for_each(|(v, to)| *to = v);
    }
    for x in 0..width {
        for (y, v) in erode(height, distance, |y| kept[y * width + x]).into_iter().enumerate() {
            kept[y * width + x] = v;
        }
    }
    mask.iter().zip(kept).map(|(&all, kept)| all && !kept).collect()
}

/// Whether all elements up to `distance` away are set; beyond the ends nothing is.
fn erode(n: usize, distance: usize, at: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut out = vec![false; n];
    let mut start = 0;
    for i in 0..=n {
        if i == n || !at(i) {
            // the run start..i
            if i > start + 2 * distance {
                out[start + distance..i - distance].fill(true);
            }
            start = i + 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(from: usize, to: usize) -> Vec<f32> {
        (0..400)
            .map(|i| f32::from(u8::from((from..to).contains(&(i % 20)) && (from..to).contains(&(i / 20)))))
            .collect()
    }

    #[test]
    fn squares() {
        let label: Vec<f32> = square(5, 15).iter().map(|v| v * 255.).collect();
        let logits: Vec<f32> = square(5, 13).iter().map(|v| v * 2. - 1.).collect();
        assert_eq!(label_box(&label, 20), Some([5., 5., 14., 14.]));
        assert_eq!(label_box(&[0.; 400], 20), None);
        assert_eq!(mask_iou(&logits, &label), 64. / 100.);
        // distance 1: rings of 36 and 28 pixels, which share the two sides at the upper left
        assert_eq!(boundary_iou(&logits, &label, 20), 15. / (36. + 28. - 15.));
        assert!(mask_iou(&[-1.; 4], &[0.; 4]).is_nan());
    }

    #[test]
    fn the_border_is_an_edge() {
        let all = vec![1f32; 400];
        let label: Vec<f32> = square(1, 19).iter().map(|v| v * 255.).collect();
        // the ring of 76 pixels along the border and the one of 68 inside it
        assert_eq!(boundary_iou(&all, &label, 20), 0.);
        assert_eq!(boundary(&[true; 400], 20, 1).iter().filter(|v| **v).count(), 76);
    }
}
