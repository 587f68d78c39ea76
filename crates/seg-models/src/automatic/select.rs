//! Judging masks and leaving out those that are there already.

use super::grid::Crop;
use crate::error::Result;

/// A box of pixels: the first and the last column and row that have any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PixelBox {
    pub x0: u32,
    pub y0: u32,
    pub x1: u32,
    pub y1: u32,
}

impl PixelBox {
    /// Around the inside of a row-major mask of `(width, height)` pixels; zeros for an empty one.
    pub fn around(mask: &[u8], (width, height): (u32, u32)) -> Result<Self> {
        let found = seg_data::geometry::extent(mask, width, height)?;
        Ok(found.map_or_else(Self::default, |[x0, y0, x1, y1]| Self { x0, y0, x1: x1 - 1, y1: y1 - 1 }))
    }

    pub fn shifted(self, x: u32, y: u32) -> Self {
        Self { x0: self.x0 + x, y0: self.y0 + y, x1: self.x1 + x, y1: self.y1 + y }
    }

    /// As the official code has it: the distance between the first and the last pixel, one less than their number.
    pub fn xywh(self) -> [u32; 4] {
        [self.x0, self.y0, self.x1 - self.x0, self.y1 - self.y0]
    }

    fn area(self) -> f32 {
        (self.x1 - self.x0) as f32 * (self.y1 - self.y0) as f32
    }
}

/// Logits above and below the threshold.
pub(super) struct Judged {
    /// 1 where a logit is above the threshold.
    pub mask: Vec<u8>,
    /// IoU of the masks at the threshold plus and minus the offset; 0 if both are empty.
    pub stability_score: f32,
}

/// One pass over the logits of a mask.
pub(super) fn judge(logits: &[f32], threshold: f32, offset: f32) -> Judged {
    let (high, low) = (threshold + offset, threshold - offset);
    let (mut inner, mut outer) = (0u32, 0u32);
    let count = |&logit: &f32| {
        inner += u32::from(logit > high);
        outer += u32::from(logit > low);
        u8::from(logit > threshold)
    };
    let mask = logits.iter().map(count).collect();
    Judged { mask, stability_score: if outer == 0 { 0.0 } else { inner as f32 / outer as f32 } }
}

/// Whether a box, in pixels of the image, ends at the crop's edge, 20 pixels more or less, and not at the image's.
pub(super) fn near_crop_edge(found: PixelBox, crop: &Crop, (width, height): (u32, u32)) -> bool {
    const TOLERANCE: u32 = 20;
    let near = |a: u32, b: u32| a.abs_diff(b) <= TOLERANCE;
    [(found.x0, crop.x0, 0), (found.y0, crop.y0, 0), (found.x1, crop.x1, width), (found.y1, crop.y1, height)]
        .into_iter()
        .any(|(edge, of_crop, of_image)| near(edge, of_crop) && !near(edge, of_image))
}

/// Non-maximum suppression by torchvision's rule: from the highest score down (the first of equals), a box is kept
/// unless its IoU with one that is kept is above `threshold`. The indices of the kept ones, in this order.
pub(super) fn nms(boxes: &[PixelBox], scores: &[f32], threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len().min(scores.len())).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        if kept.iter().all(|&k| f64::from(iou(boxes[k], boxes[i])) <= threshold) {
            kept.push(i);
        }
    }
    kept
}

/// Of boxes without an inside it is 0.
fn iou(a: PixelBox, b: PixelBox) -> f32 {
    let overlap = |a0: u32, a1: u32, b0: u32, b1: u32| a1.min(b1).saturating_sub(a0.max(b0)) as f32;
    let both = overlap(a.x0, a.x1, b.x0, b.x1) * overlap(a.y0, a.y1, b.y0, b.y1);
    if both > 0.0 { both / (a.area() + b.area() - both) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(x0: u32, y0: u32, x1: u32, y1: u32) -> PixelBox {
        PixelBox { x0, y0, x1, y1 }
    }

    #[test]
    fn boxes_around_masks() {
        let mask = [0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0];
        assert_eq!(PixelBox::around(&mask, (4, 3)).unwrap(), of(0, 1, 1, 2));
        assert_eq!(PixelBox::around(&mask, (4, 3)).unwrap().shifted(10, 20).xywh(), [10, 21, 1, 1]);
        assert_eq!(PixelBox::around(&[0; 12], (4, 3)).unwrap(), PixelBox::default());
    }

    #[test]
    fn stability_is_the_share_that_does_not_flip() {
        let judged = judge(&[2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -3.0], 0.0, 1.0);
        // above 1: one; above -1: five
        assert_eq!(judged.stability_score, 0.2);
        assert_eq!(judged.mask, [1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(judge(&[-5.0; 4], 0.0, 1.0).stability_score, 0.0);
    }

    #[test]
    fn suppression() {
        // the second overlaps the first by 80 of 120, the third by nothing
        let boxes = [of(0, 0, 10, 10), of(2, 0, 12, 10), of(20, 0, 30, 10)];
        assert_eq!(nms(&boxes, &[0.9, 0.8, 0.95], 0.66), [2, 0]);
        assert_eq!(nms(&boxes, &[0.8, 0.9, 0.1], 0.66), [1, 2]);
        assert_eq!(nms(&boxes, &[0.9, 0.8, 0.95], 0.67), [2, 0, 1]);
        // equal scores: the first wins
        assert_eq!(nms(&[boxes[1], boxes[0]], &[1.0, 1.0], 0.5), [0]);
        // lines have no area: they suppress nothing
        assert_eq!(nms(&[of(0, 0, 0, 9), of(0, 0, 0, 9)], &[1.0, 0.5], 0.7), [0, 1]);
        assert_eq!(nms(&[], &[], 0.5), Vec::<usize>::new());
    }

    #[test]
    fn crop_edges() {
        let crop = Crop { x0: 100, y0: 0, x1: 300, y1: 200, layer: 1 };
        let size = (300, 400);
        assert!(near_crop_edge(of(120, 50, 200, 100), &crop, size), "left");
        assert!(!near_crop_edge(of(121, 50, 200, 100), &crop, size), "inside");
        assert!(!near_crop_edge(of(150, 0, 299, 100), &crop, size), "at the image's top and right");
        assert!(near_crop_edge(of(150, 50, 200, 190), &crop, size), "bottom");
        let whole = Crop { x0: 0, y0: 0, x1: 300, y1: 400, layer: 0 };
        assert!(!near_crop_edge(of(0, 0, 299, 399), &whole, size));
    }
}
