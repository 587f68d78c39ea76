//! What files are made of masks.

mod coco;
mod freed;
mod outline;

pub use coco::{Annotated, coco, polygons};
pub use freed::freed;

use seg_data::GrayImage;

/// Left, top, width and height of what is not wholly outside.
pub fn extent(levels: &GrayImage) -> Option<[u32; 4]> {
    let (width, _) = levels.dimensions();
    let rows = levels.as_raw().chunks_exact((width as usize).max(1));
    let (mut x0, mut x1, mut y0, mut y1) = (u32::MAX, 0, u32::MAX, 0);
    for (y, row) in (0u32..).zip(rows) {
        let Some(first) = row.iter().position(|level| *level > 0) else { continue };
        let last = row.iter().rposition(|level| *level > 0).unwrap_or(first);
        (x0, x1) = (x0.min(first as u32), x1.max(last as u32));
        (y0, y1) = (y0.min(y), y);
    }
    (y0 <= y1).then(|| [x0, y0, x1 - x0 + 1, y1 - y0 + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extent_has_every_pixel_that_is_not_outside() {
        assert_eq!(extent(&GrayImage::new(4, 3)), None);
        let mut levels = GrayImage::new(5, 4);
        levels.put_pixel(3, 1, image::Luma([1]));
        levels.put_pixel(1, 2, image::Luma([255]));
        assert_eq!(extent(&levels), Some([1, 1, 3, 2]));
    }
}
