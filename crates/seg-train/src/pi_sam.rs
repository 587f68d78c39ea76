//! Pi-SAM's two stages of training (`segment_anything/modeling/mask_decoder_pi.py` and `loss.py` of lmzpai/pi-sam).
//!
//! ```no_run
//! use candle_nn::Optimizer;
//! use seg_models::pi_sam::{PiSamMaskDecoder, TorchGenerator};
//! use seg_train::pi_sam::{Batch, Simulated, Stage, forward};
//! use seg_train::random::Seeded;
//!
//! # fn step(decoder: &PiSamMaskDecoder, batch: &Batch<'_>, optimiser: &mut impl Optimizer) -> seg_train::Result<()> {
//! let mut clicker = Simulated { rules: Default::default(), random: TorchGenerator::new(42) };
//! let pass = forward(decoder, Stage::Interactor, batch, &mut clicker, &mut Seeded::new(42), &mut seg_layers::Unobserved)?;
//! optimiser.backward_step(&pass.losses.total)?;
//! # Ok(())
//! # }
//! ```

use crate::Result;
use crate::losses::{MaskLosses, PointSampledMaskLoss};
use crate::random::Uniform;
use candle_core::{D, DType, Tensor};
use detail_refine::Clicks;
use hr_decoders::PromptEmbeddings;
use seg_layers::Observer;
use seg_models::pi_sam::{ClickMode, ClickSimulation, PiSamFeatures, PiSamMaskDecoder, PiSamOutput};
use seg_models::pi_sam::{TorchGenerator, stack_clicks};
use seg_ops::Resize;

/// Which part of the decoder is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All that is not SAM's own, but the interactor; nobody clicks.
    Decoder,
    /// The Precise Interactor alone, on simulated clicks.
    Interactor,
}

impl Stage {
    /// Beginnings of the keys that this stage moves. Buffers are among them: see [`Stage::BUFFERS`].
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Decoder => &PiSamMaskDecoder::STAGE_1,
            Self::Interactor => &PiSamMaskDecoder::STAGE_2,
        }
    }

    /// Beginnings of keys that are in the state dict but never trained.
    pub const BUFFERS: [&'static str; 3] = ["interact_2.img_pe", "interact_2.pe_layer", "interact_2.bnd_op"];

    /// Whether this stage moves the weight `key` of the decoder's state dict.
    pub fn trains(self, key: &str) -> bool {
        let begins = |parts: &[&str]| parts.iter().any(|part| key.starts_with(part));
        begins(self.prefixes()) && !begins(&Self::BUFFERS)
    }
}

/// What the decoder is trained on.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What the frozen encoder makes of the images, `B` of each.
    pub features: &'a PiSamFeatures,
    /// SAM's position encoding of the image, `[1, C, h, w]`.
    pub image_pe: &'a Tensor,
    /// The boxes of the labels, by the frozen prompt encoder.
    pub prompts: &'a PromptEmbeddings,
    /// `[B, 1, H, W]` in 0..1.
    pub labels: &'a Tensor,
}

/// Clicks for a batch, and the weights of its rows: `[B]`, 1 for rows with clicks and 0 for the others.
pub type WeightedClicks = (Clicks, Tensor);

/// Who clicks: gets the logits of the coarse masks and the labels at their size (0..255), both `[B, 1, h, w]`.
pub trait Clicker {
    /// The clicks.
    fn click(&mut self, masks: &Tensor, labels: &Tensor) -> Result<WeightedClicks>;
}

impl<F: FnMut(&Tensor, &Tensor) -> Result<WeightedClicks>> Clicker for F {
    fn click(&mut self, masks: &Tensor, labels: &Tensor) -> Result<WeightedClicks> {
        self(masks, labels)
    }
}

/// The simulation that the authors train with.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// Its rules.
    pub rules: ClickSimulation,
    /// What is random in it.
    pub random: TorchGenerator,
}

impl Clicker for Simulated {
    fn click(&mut self, masks: &Tensor, labels: &Tensor) -> Result<WeightedClicks> {
        let (_, _, h, w) = masks.dims4()?;
        let values = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_from(1)?.to_vec2::<f32>();
        let mut rows = Vec::new();
        for (logits, labels) in values(masks)?.iter().zip(values(labels)?) {
            let size = (w as u32, h as u32);
            rows.push(self.rules.clicks(logits, Some(&labels), size, ClickMode::Training, &mut self.random)?);
        }
        Ok(stack_clicks(&rows, (h, w), self.rules.max_points, masks.device())?)
    }
}

/// Losses of a stage, and their sum.
#[derive(Clone, Debug)]
pub struct StageLosses {
    /// Of the coarse masks, in the first stage.
    pub small: Option<MaskLosses>,
    /// Of the masks at the input's size; in the second stage over rows with clicks alone.
    pub large: MaskLosses,
    /// What is minimised, a scalar.
    pub total: Tensor,
}

impl StageLosses {
    /// The losses of given masks. `labels` are `[B, 1, H, W]` in 0..1; `valid`, for the second stage, are the weights of the rows, `[B]`. In the first stage
    /// random numbers are drawn for the coarse masks first.
    pub fn of(
        stage: Stage,
        output: &PiSamOutput,
        labels: &Tensor,
        valid: Option<&Tensor>,
        random: &mut dyn Uniform,
    ) -> Result<Self> {
        let loss = PointSampledMaskLoss::default();
        let small = match stage {
            Stage::Decoder => Some(loss.forward(&output.masks, labels, None, random)?),
            Stage::Interactor => None,
        };
        let valid = valid.filter(|_| stage == Stage::Interactor);
        let large = loss.forward(&output.masks_large, labels, valid, random)?;
        let mut total = (&large.mask + &large.dice)?;
        if let Some(small) = &small {
            total = ((&small.mask + &small.dice)? + total)?;
        }
        Ok(Self { small, large, total })
    }
}

/// One pass of a stage.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The masks.
    pub output: PiSamOutput,
    /// What was clicked, in the second stage.
    pub clicks: Option<WeightedClicks>,
    /// The losses; `losses.total.backward()` gives the gradients.
    pub losses: StageLosses,
}

/// Masks and losses of a batch. `clicker` is asked in the second stage only.
pub fn forward(
    decoder: &PiSamMaskDecoder,
    stage: Stage,
    batch: &Batch<'_>,
    clicker: &mut dyn Clicker,
    random: &mut dyn Uniform,
    observer: &mut dyn Observer,
) -> Result<Pass> {
    let Batch { features, image_pe, prompts, labels } = *batch;
    let coarse = decoder.coarse(features, image_pe, prompts, &mut *observer)?;
    let clicks = match stage {
        Stage::Decoder => None,
        Stage::Interactor => {
            let masks = coarse.masks.detach();
            Some(clicker.click(&masks, &small_labels(labels, &masks)?)?)
        }
    };
    let given = clicks.as_ref().map(|(clicks, _)| clicks);
    let masks_large = decoder.finish(&coarse, &features.rgb_embedding, given, observer)?;
    let output = PiSamOutput { masks: coarse.masks, masks_large };
    let valid = clicks.as_ref().map(|(_, valid)| valid);
    let losses = StageLosses::of(stage, &output, labels, valid, random)?;
    Ok(Pass { output, clicks, losses })
}

/// Labels `[B, 1, H, W]` in 0..1 as clicks are simulated on them: 0..255, at the size of `masks`, bilinear without antialiasing.
pub fn small_labels(labels: &Tensor, masks: &Tensor) -> Result<Tensor> {
    let size = (masks.dim(D::Minus2)?, masks.dim(D::Minus1)?);
    Ok(seg_ops::resize(&(labels * 255.)?, size, &Resize::bilinear())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn stages_share_nothing() {
        let stages = |key| (Stage::Decoder.trains(key), Stage::Interactor.trains(key));
        assert_eq!(stages("hf_mlp.layers.0.weight"), (true, false));
        assert_eq!(stages("interact_2.out_cov.0.weight"), (false, true));
        for frozen in ["interact_2.img_pe", "interact_2.pe_layer.x", "output_upscaling.0.weight", "transformer.x"] {
            assert_eq!(stages(frozen), (false, false), "{frozen}");
        }
    }

    #[test]
    fn clicks_are_on_what_is_missing() -> Result<()> {
        // a square of 12 × 12 at row 10 and column 14 is missing in the first mask, nothing in the second
        let mut label = vec![0f32; 32 * 32];
        for row in 10..22 {
            label[row * 32 + 14..row * 32 + 26].fill(1.);
        }
        let labels = Tensor::from_vec([label, vec![0.; 32 * 32]].concat(), (2, 1, 32, 32), &Device::Cpu)?;
        let masks = (labels.zeros_like()? - 4.)?;
        let mut clicker = Simulated { rules: ClickSimulation::default(), random: TorchGenerator::new(3) };
        let (clicks, valid) = clicker.click(&masks, &small_labels(&labels, &masks)?)?;
        assert_eq!(valid.to_vec1::<f32>()?, [1., 0.]);
        assert_eq!(clicks.coords.dims(), [2, 10, 2]);
        let first = clicks.coords.get(0)?.get(0)?.to_vec1::<f32>()?;
        // the region has lost its edge
        assert!((11. ..21.).contains(&(first[0] * 32.)) && (15. ..25.).contains(&(first[1] * 32.)), "{first:?}");
        assert_eq!(clicks.flags.get(0)?.get(0)?.to_scalar::<u32>()?, 1);
        Ok(())
    }
}
