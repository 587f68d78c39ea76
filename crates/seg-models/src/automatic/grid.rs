//! Where points are put and how the image is cropped.

/// A part of an image, in pixels: left and top inside, right and bottom outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Left edge.
    pub x0: u32,
    /// Top edge.
    pub y0: u32,
    /// Right edge.
    pub x1: u32,
    /// Bottom edge.
    pub y1: u32,
    /// Layer: 0 is the whole image.
    pub layer: usize,
}

impl Crop {
    /// Width and height.
    pub fn size(&self) -> (u32, u32) {
        (self.x1 - self.x0, self.y1 - self.y0)
    }

    /// `[x, y, width, height]`.
    pub fn xywh(&self) -> [u32; 4] {
        let (width, height) = self.size();
        [self.x0, self.y0, width, height]
    }
}

/// Evenly spaced points as fractions of width and height, row after row: `n²` of them, half a step from the edges.
pub fn point_grid(n: usize) -> Vec<[f64; 2]> {
    let offset = 1.0 / (2.0 * n as f64);
    // as numpy's linspace from `offset` to `1 - offset`: the last point is the end itself
    let step = (1.0 - 2.0 * offset) / n.saturating_sub(1).max(1) as f64;
    let at = |i: usize| if i + 1 == n && n > 1 { 1.0 - offset } else { i as f64 * step + offset };
    (0..n * n).map(|i| [at(i % n), at(i / n)]).collect()
}

/// The grids of the whole image and of `layers` layers of crops, each with `downscale` times fewer points a side than
/// the one before.
pub fn point_grids(points_per_side: usize, layers: usize, downscale: usize) -> Vec<Vec<[f64; 2]>> {
    (0..=layers as u32).map(|layer| point_grid(points_per_side / downscale.saturating_pow(layer).max(1))).collect()
}

/// The whole image, then `layers` layers of overlapping crops; the `i`-th has `4^i`, column after column.
///
/// Follows `generate_crop_boxes` in segment_anything/utils/amg.py.
pub fn crops((width, height): (u32, u32), layers: usize, overlap_ratio: f64) -> Vec<Crop> {
    let mut crops = vec![Crop { x0: 0, y0: 0, x1: width, y1: height, layer: 0 }];
    for layer in 1..=layers {
        let per_side = 1u32 << layer;
        let overlap = (overlap_ratio * f64::from(width.min(height)) * (2.0 / f64::from(per_side))) as u32;
        let length = |side: u32| (overlap * (per_side - 1) + side).div_ceil(per_side);
        let (crop_width, crop_height) = (length(width), length(height));
        let starts = |length: u32| (0..per_side).map(move |i| i * length.saturating_sub(overlap));
        for x0 in starts(crop_width) {
            for y0 in starts(crop_height) {
                let (x1, y1) = ((x0 + crop_width).min(width), (y0 + crop_height).min(height));
                // an image of fewer pixels than crops has nothing left for the last ones
                if x0 < x1 && y0 < y1 {
                    crops.push(Crop { x0, y0, x1, y1, layer });
                }
            }
        }
    }
    crops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids() {
        assert_eq!(point_grid(1), [[0.5, 0.5]]);
        assert_eq!(point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]);
        let grid = point_grid(32);
        assert_eq!((grid.len(), grid[0], grid[1023]), (1024, [1.0 / 64.0; 2], [1.0 - 1.0 / 64.0; 2]));
        let sizes: Vec<usize> = point_grids(32, 2, 2).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1024, 256, 64]);
        assert!(point_grids(2, 2, 4)[1].is_empty());
    }

    /// Numbers from the official function.
    #[test]
    fn crops_of_two_layers() {
        let all = crops((600, 400), 2, 512.0 / 1500.0);
        let boxes: Vec<[u32; 4]> = all.iter().map(|c| [c.x0, c.y0, c.x1, c.y1]).collect();
        assert_eq!(boxes.len(), 1 + 4 + 16);
        assert_eq!(
            boxes[..5],
            [[0, 0, 600, 400], [0, 0, 368, 268], [0, 132, 368, 400], [232, 0, 600, 268], [232, 132, 600, 400]]
        );
        assert_eq!(boxes[5], [0, 0, 201, 151]);
        assert_eq!(boxes[20], [399, 249, 600, 400]);
        assert_eq!(all.iter().map(|c| c.layer).max(), Some(2));
    }

    #[test]
    fn tiny_images_have_whole_crops() {
        for crop in crops((3, 1), 3, 0.3) {
            assert!(crop.x0 < crop.x1 && crop.y0 < crop.y1 && crop.x1 <= 3 && crop.y1 <= 1, "{crop:?}");
        }
    }
}
