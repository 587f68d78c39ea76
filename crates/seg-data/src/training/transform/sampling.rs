//! Sizes changed in the ways of Pillow and of torch, and bytes to planes.

use image::ImageBuffer;

use super::{Planes, Sampling, torch};
use crate::error::Result;
use crate::resize::{PilFilter, PilPixel, resize_pil};

type Bytes<P> = ImageBuffer<P, Vec<u8>>;

/// At another size, in bytes; [`Sampling::TorchBilinear`] is cut to whole levels here.
pub(super) fn whole<P: PilPixel>(image: &Bytes<P>, to: (u32, u32), sampling: Sampling) -> Result<Bytes<P>> {
    let filter = match sampling {
        Sampling::PillowNearest => PilFilter::Nearest,
        Sampling::TorchNearest => return Ok(torch_nearest(image, to)),
        Sampling::PillowBilinear => PilFilter::Bilinear,
        Sampling::PillowBicubic => PilFilter::Bicubic,
        Sampling::TorchBilinear | Sampling::TorchBilinearCut => {
            let planes = bilinear(image, to);
            let plane = planes.levels.len() / usize::from(P::CHANNEL_COUNT);
            let mixed = (0..plane).flat_map(|i| planes.levels[i..].iter().step_by(plane).map(|&v| v as u8)).collect();
            return Ok(ImageBuffer::from_raw(to.0, to.1, mixed).unwrap_or_default());
        }
    };
    resize_pil(image, to, filter)
}

/// At another size, in planes.
pub(super) fn floats<P: PilPixel>(image: &Bytes<P>, to: (u32, u32), sampling: Sampling) -> Result<Planes> {
    match sampling {
        Sampling::TorchBilinear => Ok(bilinear(image, to)),
        _ => Ok(planes(&whole(image, to, sampling)?)),
    }
}

pub(super) fn bilinear<P: PilPixel>(image: &Bytes<P>, to: (u32, u32)) -> Planes {
    let usizes = |(w, h): (u32, u32)| (w as usize, h as usize);
    let (from, size) = (usizes(image.dimensions()), usizes(to));
    let levels = match P::CHANNEL_COUNT {
        1 => torch::bilinear::<1>(image.as_raw(), from, size),
        _ => torch::bilinear::<3>(image.as_raw(), from, size),
    };
    Planes { width: to.0, height: to.1, levels }
}

fn torch_nearest<P: PilPixel>(image: &Bytes<P>, to: (u32, u32)) -> Bytes<P> {
    let (w, h) = image.dimensions();
    let at = |i: u32, from: u32, to: u32| ((i as f32 * (from as f32 / to as f32)) as u32).min(from - 1);
    ImageBuffer::from_fn(to.0, to.1, |x, y| *image.get_pixel(at(x, w, to.0), at(y, h, to.1)))
}

/// Bytes side by side to planes of floats.
pub(super) fn planes<P: PilPixel>(image: &Bytes<P>) -> Planes {
    let (width, height) = image.dimensions();
    let channels = usize::from(P::CHANNEL_COUNT);
    let levels = (0..channels).flat_map(|c| image.as_raw()[c..].iter().step_by(channels).map(|&v| f32::from(v)));
    Planes { width, height, levels: levels.collect() }
}

impl Planes {
    /// What lies from `at` on, in a square of `side`, with `fill` where there is nothing.
    pub(super) fn framed(&self, at: (u32, u32), side: u32, fill: f32) -> Self {
        let (w, h, n) = (self.width as usize, self.height as usize, side as usize);
        let (x, y) = (at.0 as usize, at.1 as usize);
        let (kept_w, kept_h) = (n.min(w - x), n.min(h - y));
        let count = self.levels.len() / (w * h);
        let mut levels = vec![fill; count * n * n];
        for (to, from) in levels.chunks_exact_mut(n * n).zip(self.levels.chunks_exact(w * h)) {
            for (to, from) in to.chunks_exact_mut(n).zip(from.chunks_exact(w).skip(y)).take(kept_h) {
                to[..kept_w].copy_from_slice(&from[x..x + kept_w]);
            }
        }
        Self { width: side, height: side, levels }
    }
}
