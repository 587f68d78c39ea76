//! What the original IS-Net sees of a photo, and where it looks.

use seg_data::geometry::distance;
use seg_data::{GrayImage, RgbImage};

use super::agreement::Shape;
use crate::error::{Error, Result};
use crate::is_net::{IsNetPredictor, ProbabilityMap};
use crate::promptable::Point;

/// A window of at least this share of the image is not cut out: IS-Net was trained on whole photos, and gains little by a closer look.
const WHOLE: f64 = 0.5;

/// A window whose longer side has fewer pixels is small.
const SMALL: u32 = 256;

/// How the original IS-Net, which takes no prompt, is kept to one object: it sees the object's surroundings, and what it finds
/// counts near the object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surroundings {
    /// How far the cut-out reaches beyond the object's box on each side, as a share of the box's longer side.
    pub padding: f32,
    /// How far from the object IS-Net's answer counts fully, as a share of the box's longer side; twice as far it counts no more.
    pub reach: f32,
}

impl Default for Surroundings {
    /// Found by eye on photos of lattices, seed hairs, handles, spokes and wings: more padding shows IS-Net other objects that it
    /// then prefers, less cuts off thin ends; more reach lets neighbours in.
    fn default() -> Self {
        Self { padding: 0.12, reach: 0.04 }
    }
}

impl Surroundings {
    /// Left, top, right, bottom (exclusive) of what IS-Net sees for a box in an image of `width × height` pixels.
    pub(super) fn window(&self, bbox: [u32; 4], (width, height): (u32, u32)) -> [u32; 4] {
        let pad = (self.padding.max(0.) * longer(bbox)).ceil() as u32;
        let window @ [x0, y0, x1, y1] = grown(bbox, pad, (width, height));
        let area = f64::from(x1 - x0) * f64::from(y1 - y0);
        if area >= WHOLE * f64::from(width) * f64::from(height) { [0, 0, width, height] } else { window }
    }

    /// How far from an object of this box IS-Net's answer counts fully, in pixels.
    pub(super) fn reach(&self, bbox: [u32; 4]) -> f32 {
        (self.reach.max(0.) * longer(bbox)).max(1.)
    }
}

fn longer([x0, y0, x1, y1]: [u32; 4]) -> f32 {
    (x1 - x0).max(y1 - y0) as f32
}

/// A box with `by` pixels more on each side, as far as the image goes.
pub(super) fn grown([x0, y0, x1, y1]: [u32; 4], by: u32, (width, height): (u32, u32)) -> [u32; 4] {
    [x0.saturating_sub(by), y0.saturating_sub(by), x1.saturating_add(by).min(width), y1.saturating_add(by).min(height)]
}

/// What IS-Net sees in a window of an image.
pub(super) struct Sight {
    /// Left, top, right, bottom (exclusive) in the image.
    pub window: [u32; 4],
    /// The probability of each of the window's pixels.
    pub map: Vec<f32>,
    /// What the map shows, in the user's box if there is one.
    pub seen: Shape,
    /// The same without regard to a box.
    pub everything: Shape,
    image: (u32, u32),
}

impl Sight {
    pub fn new(net: &IsNetPredictor, image: &RgbImage, window: [u32; 4]) -> Result<Self> {
        let [x0, y0, x1, y1] = window;
        let found = match (x1 - x0, y1 - y0) == image.dimensions() {
            true => net.predict(image)?,
            false => net.predict(&cut_image(image, window)?)?,
        };
        Ok(Self::of_map(found.values().to_vec(), window, image.dimensions()))
    }

    /// What a map of the window shows, in an image of this size.
    pub fn of_map(map: Vec<f32>, window: [u32; 4], image: (u32, u32)) -> Self {
        let [x0, y0, x1, y1] = window;
        let everything = Shape::seen(&map, (x1 - x0, y1 - y0));
        Self { window, seen: everything.clone(), everything, map, image }
    }

    /// The same with nothing seen outside a box of the image.
    pub fn within(self, bbox: [u32; 4]) -> Self {
        Self { seen: self.seen.clone().within(self.local(bbox)), ..self }
    }

    /// A box of the image as one of the window, which must hold its left upper corner.
    pub fn local(&self, [x0, y0, x1, y1]: [u32; 4]) -> [u32; 4] {
        let [left, top, ..] = self.window;
        [x0.saturating_sub(left), y0.saturating_sub(top), x1.saturating_sub(left), y1.saturating_sub(top)]
    }

    /// Whether the window has so few pixels that IS-Net, whose input has 1024 a side, gets it enlarged more than four times.
    pub fn is_small(&self) -> bool {
        let [x0, y0, x1, y1] = self.window;
        (x1 - x0).max(y1 - y0) < SMALL && self.window != [0, 0, self.image.0, self.image.1]
    }

    /// The part of a shape of the whole image that lies in a window of it.
    pub fn crop(&self, shape: &Shape, window: [u32; 4]) -> Shape {
        let [x0, y0, x1, y1] = window;
        Shape { inside: crop::<1>(&shape.inside, self.image.0, window), size: (x1 - x0, y1 - y0) }
    }

    /// The part of a mask of the image that lies in the window.
    pub fn part(&self, mask: &GrayImage) -> Shape {
        Shape::new(&crop::<1>(mask.as_raw(), mask.width(), self.window), self.seen.size)
    }

    /// The clicks of this label that lie in the window.
    pub fn clicks(&self, points: &[Point], positive: bool) -> Vec<(u32, u32)> {
        let ([x0, y0, x1, y1], (width, height)) = (self.window, self.image);
        points
            .iter()
            .filter(|point| point.positive == positive)
            // the image's right and lower edge are in its last pixels
            .map(|point| ((point.x as u32).min(width - 1), (point.y as u32).min(height - 1)))
            .filter(|&(x, y)| (x0..x1).contains(&x) && (y0..y1).contains(&y))
            .map(|(x, y)| (x - x0, y - y0))
            .collect()
    }

    /// A map of the image's size: what IS-Net sees on `support` and up to `reach` pixels from it, less and less up to twice as far;
    /// 0 elsewhere.
    pub fn counted(&self, support: &Shape, reach: f32) -> Result<ProbabilityMap> {
        let (width, height) = support.size;
        let [left, top, ..] = self.window;
        let near = distance(&support.inside, width, height)?;
        let mut values = vec![0f32; (self.image.0 as usize) * (self.image.1 as usize)];
        let rows = self.map.chunks_exact(width as usize).zip(near.chunks_exact(width as usize));
        for (y, (seen, near)) in rows.enumerate() {
            let at = (top as usize + y) * self.image.0 as usize + left as usize;
            for ((value, &p), &d) in values[at..].iter_mut().zip(seen).zip(near) {
                *value = p * (2. - d / reach).clamp(0., 1.);
            }
        }
        ProbabilityMap::new(values, self.image)
    }
}

/// A box within the image in whole pixels, at least one.
pub(super) fn whole_pixels([x0, y0, x1, y1]: [f32; 4], (width, height): (u32, u32)) -> [u32; 4] {
    let (left, top) = ((x0 as u32).min(width - 1), (y0 as u32).min(height - 1));
    [left, top, (x1.ceil() as u32).clamp(left + 1, width), (y1.ceil() as u32).clamp(top + 1, height)]
}

/// A window of an image.
pub(super) fn cut_image(image: &RgbImage, window: [u32; 4]) -> Result<RgbImage> {
    let [width, height] = [window[2] - window[0], window[3] - window[1]];
    let cut = crop::<3>(image.as_raw(), image.width(), window);
    RgbImage::from_raw(width, height, cut).ok_or(Error::EmptyImage { width, height })
}

/// A window of a mask.
pub(super) fn cut_mask(mask: &GrayImage, window: [u32; 4]) -> Result<GrayImage> {
    let [width, height] = [window[2] - window[0], window[3] - window[1]];
    let cut = crop::<1>(mask.as_raw(), mask.width(), window);
    GrayImage::from_raw(width, height, cut).ok_or(Error::EmptyImage { width, height })
}

/// The pixels of a window of an image `width` pixels wide with `C` bytes each.
fn crop<const C: usize>(bytes: &[u8], width: u32, [x0, y0, x1, y1]: [u32; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity((x1 - x0) as usize * (y1 - y0) as usize * C);
    for y in y0..y1 {
        let row = y as usize * width as usize;
        out.extend_from_slice(&bytes[(row + x0 as usize) * C..(row + x1 as usize) * C]);
    }
    out
}
