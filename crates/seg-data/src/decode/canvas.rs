//! The canvas that the frames of an animation are laid on.

use image::{Rgba, RgbaImage};

/// A rectangle in pixels. It may stick out of the canvas; what does is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Place {
    pub fn covers(self, (width, height): (u32, u32)) -> bool {
        self == Self { left: 0, top: 0, width, height }
    }

    pub fn has(self, x: u32, y: u32) -> bool {
        x.checked_sub(self.left).is_some_and(|x| x < self.width)
            && y.checked_sub(self.top).is_some_and(|y| y < self.height)
    }
}

/// Sets the pixels of `place` to what `pixel` makes of a position in it and of what is there.
pub(crate) fn lay(canvas: &mut RgbaImage, place: Place, mut pixel: impl FnMut(u32, u32, Rgba<u8>) -> Rgba<u8>) {
    let width = place.width.min(canvas.width().saturating_sub(place.left));
    let height = place.height.min(canvas.height().saturating_sub(place.top));
    for y in 0..height {
        for x in 0..width {
            let under = canvas.get_pixel_mut(place.left + x, place.top + y);
            *under = pixel(x, y, *under);
        }
    }
}

/// Puts a picture that [`crop`] gave, or one as large, where it was.
pub(crate) fn paste(canvas: &mut RgbaImage, place: Place, picture: &RgbaImage) {
    lay(canvas, place, |x, y, under| picture.get_pixel_checked(x, y).copied().unwrap_or(under));
}

/// The pixels of `place`, without what sticks out.
pub(crate) fn crop(canvas: &RgbaImage, place: Place) -> RgbaImage {
    image::imageops::crop_imm(canvas, place.left, place.top, place.width, place.height).to_image()
}
