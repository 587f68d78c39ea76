//! What a frame's tracking gives.

use candle_core::{DType, Tensor};
use seg_data::GrayImage;
use seg_ops::{Activation, Resize};

use crate::error::Result;
use crate::promptable::MASK_THRESHOLD;

/// One object's mask on a frame.
#[derive(Clone, Debug)]
pub struct ObjectMask {
    /// The object's number, as the caller gave it.
    pub object: u32,
    /// Logits at the frame's size, `[H, W]`, f32; above 0 is inside.
    pub logits: Tensor,
    /// Logit of "the object is in the picture"; at 0 and below the mask is empty.
    pub object_score: f32,
}

impl ObjectMask {
    /// Logits `[1, 1, h, w]` enlarged to a frame of `size` (width and height), with the object's score `[1, 1]`.
    pub(crate) fn enlarged(object: u32, masks: &Tensor, score: &Tensor, size: (u32, u32)) -> Result<Self> {
        let logits = seg_ops::resize(masks, (size.1 as usize, size.0 as usize), &Resize::bilinear())?;
        let score = score.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self {
            object,
            logits: logits.squeeze(0)?.squeeze(0)?,
            object_score: score.first().copied().unwrap_or(f32::NAN),
        })
    }

    /// Probabilities at the frame's size, `[H, W]`.
    pub fn probabilities(&self) -> Result<Tensor> {
        Ok(seg_ops::activate(&self.logits, Activation::Sigmoid)?)
    }

    /// 255 inside, 0 outside.
    pub fn to_image(&self) -> Result<GrayImage> {
        let (h, w) = self.logits.dims2()?;
        let logits = self.logits.flatten_all()?.to_vec1::<f32>()?;
        Ok(seg_data::mask::from_logits(&logits, w as u32, h as u32, MASK_THRESHOLD)?)
    }
}

/// All objects' masks on a frame.
#[derive(Clone, Debug)]
pub struct FrameMasks {
    /// The frame's number.
    pub frame: usize,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// In the order in which the objects were added.
    pub masks: Vec<ObjectMask>,
}

impl FrameMasks {
    /// Where masks overlap, the pixel belongs to the object with the highest logit (`_apply_non_overlapping_constraints` in
    /// sam2/modeling/sam2_base.py). One mask an object, in the same order, 255 inside.
    pub fn without_overlap(&self) -> Result<Vec<(u32, GrayImage)>> {
        let (w, h) = self.size;
        let mut best = vec![(MASK_THRESHOLD, usize::MAX); w as usize * h as usize];
        for (i, mask) in self.masks.iter().enumerate() {
            let logits = mask.logits.flatten_all()?.to_vec1::<f32>()?;
            for (best, logit) in best.iter_mut().zip(logits) {
                if logit > best.0 {
                    *best = (logit, i);
                }
            }
        }
        let of = |i: usize| best.iter().map(|b| u8::from(b.1 == i)).collect::<Vec<_>>();
        let image = |(i, mask): (usize, &ObjectMask)| Ok((mask.object, seg_data::mask::from_binary(&of(i), w, h)?));
        self.masks.iter().enumerate().map(image).collect()
    }
}
