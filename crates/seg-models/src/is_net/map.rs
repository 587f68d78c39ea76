//! What IS-Net's predictors answer.

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use seg_data::{GrayImage, mask};
use seg_ops::Resize;

use crate::error::{Error, Result};

/// How much each pixel of an image belongs to the object, 0..1, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbabilityMap {
    values: Vec<f32>,
    size: (u32, u32),
}

impl ProbabilityMap {
    /// From row-major values and their width and height in pixels.
    ///
    /// # Errors
    /// When there are more or fewer values than pixels.
    pub fn new(values: Vec<f32>, size: (u32, u32)) -> Result<Self> {
        if values.len() as u64 != u64::from(size.0) * u64::from(size.1) {
            return Err(Error::MapLength { len: values.len(), size });
        }
        Ok(Self { values, size })
    }

    /// This map as that of a window (left, top, right, bottom, the last two exclusive) of an image of `size`; 0 around it.
    ///
    /// # Errors
    /// When the window is of another size than the map, or reaches beyond the image.
    pub fn placed(&self, [x0, y0, x1, y1]: [u32; 4], size: (u32, u32)) -> Result<Self> {
        let wide = x1.saturating_sub(x0);
        if (wide, y1.saturating_sub(y0)) != self.size || x1 > size.0 || y1 > size.1 {
            return Err(Error::MapLength { len: self.values.len(), size });
        }
        let mut values = vec![0f32; size.0 as usize * size.1 as usize];
        for (row, y) in self.values.chunks_exact((wide as usize).max(1)).zip(y0..y1) {
            let at = y as usize * size.0 as usize + x0 as usize;
            values[at..at + row.len()].copy_from_slice(row);
        }
        Self::new(values, size)
    }

    /// The network's output `d1`, `[1, 1, h, w]`, at `size` (width and height): bilinear, then stretched so that the least
    /// value is 0 and the greatest 1, as the official inference does. A map of one value only is left as it is.
    pub fn from_output(output: &Tensor, size: (u32, u32)) -> Result<Self> {
        let mut map = Self::from_output_as_is(output, size)?;
        let (low, high) = map.extremes();
        if high > low {
            map.values.iter_mut().for_each(|v| *v = (*v - low) / (high - low));
        }
        Ok(map)
    }

    /// Logits `[1, 1, h, w]` at `size` (width and height): bilinear, sigmoid, then stretched as `(p - least) / (greatest - least + 1e-8)`, as SAM2-UNet
    /// and SAM2-UNeXT do.
    pub fn from_logits(logits: &Tensor, size: (u32, u32)) -> Result<Self> {
        const EPS: f32 = 1e-8;
        let mut map = Self::from_logits_as_is(logits, size)?;
        let (low, high) = map.extremes();
        map.values.par_iter_mut().for_each(|v| *v = (*v - low) / (high - low + EPS));
        Ok(map)
    }

    /// Logits `[1, 1, h, w]` at `size` (width and height): bilinear, then the sigmoid.
    pub fn from_logits_as_is(logits: &Tensor, size: (u32, u32)) -> Result<Self> {
        let mut map = Self::from_output_as_is(logits, size)?;
        let sigmoid = |v: f32| 1. / (1. + (-v).exp());
        map.values.par_iter_mut().for_each(|v| *v = sigmoid(*v));
        Ok(map)
    }

    /// The least and the greatest value.
    fn extremes(&self) -> (f32, f32) {
        self.values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
    }

    /// The same without stretching.
    pub(crate) fn from_output_as_is(output: &Tensor, size: (u32, u32)) -> Result<Self> {
        let resized =
            seg_ops::resize(&output.to_dtype(DType::F32)?, (size.1 as usize, size.0 as usize), &Resize::bilinear())?;
        Self::new(resized.flatten_all()?.to_vec1()?, size)
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Row after row, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// As bytes, `⌊255·p⌋`: what the official code saves.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().map(|&v| (v.clamp(0., 1.) * 255.) as u8).collect()
    }

    /// As an image of these bytes.
    pub fn to_image(&self) -> Result<GrayImage> {
        let len = self.values.len();
        GrayImage::from_raw(self.size.0, self.size.1, self.to_bytes()).ok_or(Error::MapLength { len, size: self.size })
    }

    /// A mask, 255 where the value is above `threshold`, else 0.
    pub fn mask(&self, threshold: f32) -> Result<GrayImage> {
        Ok(mask::from_logits(&self.values, self.size.0, self.size.1, threshold)?)
    }

    /// A mask at Otsu's threshold of the bytes, as DIS-SAM's demonstration has it.
    pub fn otsu_mask(&self) -> Result<GrayImage> {
        let bytes = self.to_bytes();
        let threshold = mask::otsu_threshold(&bytes);
        let inside: Vec<u8> = bytes.iter().map(|&v| u8::from(v > threshold)).collect();
        Ok(mask::from_binary(&inside, self.size.0, self.size.1)?)
    }
}
