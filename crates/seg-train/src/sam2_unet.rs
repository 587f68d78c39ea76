//! Training of SAM2-UNet and SAM2-UNeXT (train.py of WZH0120/SAM2-UNet and WZH0120/SAM2-UNeXT).

use crate::Result;
use crate::losses::StructureLoss;
use crate::schedule::{Curve, Per, Schedule};
use candle_core::Tensor;
use seg_models::sam2_unet::Sam2UnetOutput;

/// What the published training is set to: AdamW with torch's defaults otherwise. Which weights move and how much they decay say
/// [`Sam2Unet::parameter_rules`](seg_models::sam2_unet::Sam2Unet::parameter_rules) and SAM2-UNeXT's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Side of the square images and masks, in pixels. Images are resized bilinearly, masks bicubically, both by Pillow; masks are not made binary.
    pub image_size: usize,
    /// Images of a step.
    pub batch_size: usize,
    /// Learning rate of the first epoch; it falls to [`Recipe::LAST_LEARNING_RATE`] along a cosine, epoch by epoch.
    pub learning_rate: f64,
    /// Epochs.
    pub epochs: usize,
}

impl Recipe {
    /// Where the cosine ends.
    pub const LAST_LEARNING_RATE: f64 = 1e-7;
    /// SAM2-UNet's.
    pub const SAM2_UNET: Self = Self { image_size: 352, batch_size: 12, learning_rate: 1e-3, epochs: 20 };
    /// SAM2-UNeXT's.
    pub const SAM2_UNEXT: Self = Self { image_size: 1024, batch_size: 1, learning_rate: 2e-4, epochs: 20 };

    /// The learning rates.
    pub fn schedule(&self) -> Schedule {
        let curve = Curve::Cosine { last: Self::LAST_LEARNING_RATE };
        Schedule { lr: self.learning_rate, warm_up: 0, per: Per::Epoch, curve }
    }
}

/// SAM2-UNet's loss: of the prediction and both side outputs, each a scalar.
#[derive(Clone, Debug)]
pub struct UnetTerms {
    /// Of `out`, `out1` and `out2`.
    pub outputs: [Tensor; 3],
    /// Their sum: what is minimised.
    pub total: Tensor,
}

/// `mask` `[B, 1, H, W]` in 0..1, of the outputs' size. SAM2-UNeXT has one output: [`StructureLoss`] alone is its loss.
pub fn unet_loss(loss: StructureLoss, output: &Sam2UnetOutput, mask: &Tensor) -> Result<UnetTerms> {
    let weights = StructureLoss::weights(&mask.detach())?;
    let of = |logits| loss.weighted(logits, mask, &weights);
    let outputs = [of(&output.out)?, of(&output.out1)?, of(&output.out2)?];
    let total = ((&outputs[0] + &outputs[1])? + &outputs[2])?;
    Ok(UnetTerms { outputs, total })
}
