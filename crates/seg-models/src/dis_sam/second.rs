//! The second stages: from a coarse mask to an exact one.

use std::path::Path;

use candle_core::{DType, Device, Module};
use detail_refine::{IsNet, IsNetConfig};
use seg_checkpoints::LoadReport;
use seg_data::geometry::{distance, extent};
use seg_data::{GrayImage, RgbImage};

use super::input::demo_input;
use crate::error::{Error, Result};
use crate::is_net::transforms::INPUT_SIZE;
use crate::is_net::{IsNetPredictor, ProbabilityMap, load_net};
use crate::registry::LoadOptions;

/// DIS-SAM's second stage: IS-Net of five channels on the whole image.
#[derive(Clone, Debug)]
pub struct DisSamRefiner {
    net: IsNet,
    image_size: usize,
    dtype: DType,
    device: Device,
}

impl DisSamRefiner {
    /// The refiner of a network of DIS-SAM's form (five input channels) whose square input has `image_size` pixels a side;
    /// `dtype` and `device` are those of its weights.
    pub fn new(net: IsNet, image_size: usize, dtype: DType, device: &Device) -> Self {
        Self { net, image_size, dtype, device: device.clone() }
    }

    /// Loads the network from a checkpoint with the official names, strictly.
    ///
    /// # Errors
    /// A file that cannot be read, or that is of another model: the message says which one it looks like.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let (net, report) = load_net(&IsNetConfig::dis_sam(), "dis-sam", path, options)?;
        Ok((Self::new(net, INPUT_SIZE, options.dtype, &options.device), report))
    }

    /// The probability of each pixel, at the size of the image, stretched to 0..1.
    pub fn refine(&self, image: &RgbImage, mask: &GrayImage) -> Result<ProbabilityMap> {
        let input = demo_input(image, mask, self.image_size, &self.device)?.to_dtype(self.dtype)?;
        ProbabilityMap::from_output(&self.net.forward(&input)?, image.dimensions())
    }
}

/// How the original IS-Net, which takes no prompt, is kept to one object: it sees the coarse mask's surroundings, and what it
/// finds counts near the coarse mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surroundings {
    /// How far the cut-out reaches beyond the coarse mask on each side, as a share of the mask's longer side.
    pub padding: f32,
    /// How far from the coarse mask IS-Net's answer counts fully, as a share of the mask's longer side; twice as far it
    /// counts no more.
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
    /// Left, top, right, bottom (exclusive) of what IS-Net sees of an image of `width × height` pixels.
    fn window(&self, [x0, y0, x1, y1]: [u32; 4], (width, height): (u32, u32)) -> [u32; 4] {
        let pad = (self.padding.max(0.) * (x1 - x0).max(y1 - y0) as f32).ceil() as u32;
        [
            x0.saturating_sub(pad),
            y0.saturating_sub(pad),
            x1.saturating_add(pad).min(width),
            y1.saturating_add(pad).min(height),
        ]
    }

    /// IS-Net on the surroundings of `mask`; 0 elsewhere.
    pub(super) fn refine(&self, net: &IsNetPredictor, image: &RgbImage, mask: &GrayImage) -> Result<ProbabilityMap> {
        let size = image.dimensions();
        let object = extent(mask.as_raw(), size.0, size.1)?.ok_or(Error::EmptyMask { what: "coarse mask" })?;
        let window @ [x0, y0, x1, y1] = self.window(object, size);
        let seen = (x1 - x0, y1 - y0);
        let cut = crop::<3>(image.as_raw(), size.0, window);
        let cut = RgbImage::from_raw(seen.0, seen.1, cut).ok_or(Error::EmptyImage { width: seen.0, height: seen.1 })?;
        let found = net.predict(&cut)?;

        let near = distance(&crop::<1>(mask.as_raw(), size.0, window), seen.0, seen.1)?;
        let reach = (self.reach.max(0.) * (object[2] - object[0]).max(object[3] - object[1]) as f32).max(1.);
        let mut values = vec![0f32; (size.0 as usize) * (size.1 as usize)];
        let rows = found.values().chunks_exact(seen.0 as usize).zip(near.chunks_exact(seen.0 as usize));
        for (y, (found, near)) in rows.enumerate() {
            let at = (y0 as usize + y) * size.0 as usize + x0 as usize;
            for ((value, &p), &d) in values[at..].iter_mut().zip(found).zip(near) {
                *value = p * (2. - d / reach).clamp(0., 1.);
            }
        }
        ProbabilityMap::new(values, size)
    }
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
