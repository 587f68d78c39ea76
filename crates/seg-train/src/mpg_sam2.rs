//! Training of MPG-SAM 2 (main.py, models/criterion.py and models/segmentation.py of rongfu-dsb/MPG-SAM2).

use crate::error::expect_shape;
use crate::losses::{FocalLoss, soft_dice_loss};
use crate::sam2::ClickPrediction;
use crate::{Result, TrainError};
use beit3_encoder::TextTokens;
use candle_core::{DType, Tensor};
use seg_models::mpg_sam2::{MaskPrior, MpgSam2};
use seg_ops::{Activation, Resize};

/// What the published training is set to: AdamW with torch's defaults otherwise. Which weights move, and how fast, say
/// [`MpgSam2::parameter_rules`]. The rate stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The rate of what is new in the decoder and of most of the prior generator; everything else has a part of it.
    pub learning_rate: f64,
    /// Probability with which dropout leaves numbers out, see [`MpgSam2::with_dropout`].
    pub dropout: f64,
    /// Gradients are clipped to this norm, see [`clip_grad_norm`](crate::optim::clip_grad_norm).
    pub max_grad_norm: f64,
    /// Clips, or single images, of a step.
    pub batch_size: usize,
    /// Frames of a clip.
    pub frames: usize,
    /// Epochs.
    pub epochs: usize,
}

impl Recipe {
    /// Pre-training on the images of RefCOCO, RefCOCO+ and RefCOCOg. The authors' slow rate is 1e-5 here, a fifth of the fast one.
    pub const REF_COCO: Self =
        Self { learning_rate: 5e-5, dropout: 0.1, max_grad_norm: 0.1, batch_size: 8, frames: 1, epochs: 10 };
    /// On the videos of Ref-YouTube-VOS, from pre-trained weights.
    pub const REF_YOUTUBE_VOS: Self = Self { batch_size: 1, frames: 5, epochs: 6, ..Self::REF_COCO };
    /// On MeViS, from the weights of SAM 2 and BEiT-3.
    pub const MEVIS: Self = Self { frames: 8, ..Self::REF_YOUTUBE_VOS };
}

/// What the loss is computed of.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Logits, `[B, T, 1, H, W]`.
    pub logits: Tensor,
    /// A number a frame, `[B, T]`.
    pub sentence: Tensor,
    /// What SAM 2's decoder says at a quarter of the input's side: of a clip, each frame's three masks; of images, their single masks together. The published
    /// loss has none of it.
    pub decoded: Vec<ClickPrediction>,
}

impl Prediction {
    fn new(logits: Tensor, decoded: Vec<ClickPrediction>, prior: &MaskPrior) -> candle_core::Result<Self> {
        let (count, _, h, w) = logits.dims4()?; // [B·T, 1, H, W]
        let (clips, frames) = (count / prior.frames.max(1), prior.frames);
        Ok(Self {
            logits: logits.reshape((clips, frames, 1, h, w))?,
            sentence: prior.sentence_scores.reshape((clips, frames))?,
            decoded,
        })
    }

    /// Clips of the same length as a batch.
    ///
    /// # Errors
    /// Candle's; none, or clips of several lengths.
    pub fn joined(clips: Vec<Self>) -> candle_core::Result<Self> {
        let cat = |part: fn(&Self) -> &Tensor| Tensor::cat(&clips.iter().map(part).collect::<Vec<_>>(), 0);
        let (logits, sentence) = (cat(|clip| &clip.logits)?, cat(|clip| &clip.sentence)?);
        Ok(Self { logits, sentence, decoded: clips.into_iter().flat_map(|clip| clip.decoded).collect() })
    }
}

/// A clip (fine-tuning): `frames` are T inputs `[1, 3, S, S]` of SAM 2, `look_frames [T, 3, 224, 224]` those of BEiT-3, with one text. Logits `[1, T, 1, S, S]`.
///
/// Gradients pass through all frames: through the pointers, and through the memory maps, where they are rounded to bfloat16 as the maps are.
///
/// # Errors
/// Besides candle's, no frames, or several texts.
pub fn segment_clip(model: &MpgSam2, frames: &[Tensor], look_frames: &Tensor, text: &TextTokens) -> Result<Prediction> {
    if frames.is_empty() {
        return Err(TrainError::Count { what: "frames of the clip", got: 0, expected: 1 });
    }
    let features = model.look(look_frames, &text.repeated(frames.len())?)?;
    let mut video = model.video(model.prior(&features, frames.len())?)?;
    let (mut logits, mut decoded) = (Vec::with_capacity(frames.len()), Vec::with_capacity(frames.len()));
    for frame in frames {
        let features = model.image_model().encode_image(frame.clone())?;
        let heads = video.step(&features)?;
        logits.push(heads.high_res_masks);
        let (masks, ious, object_scores) = (heads.low_res_multimasks, heads.ious, heads.object_score_logits);
        decoded.push(ClickPrediction { masks, ious, object_scores });
    }
    Ok(Prediction::new(Tensor::cat(&logits, 0)?, decoded, video.prior())?)
}

/// Single images, each with its text (pre-training): `images [B, 3, S, S]`, `look_images [B, 3, 224, 224]`. Logits `[B, 1, 1, H, W]`, with `size` for
/// height and width.
pub fn segment_images(
    model: &MpgSam2,
    images: Tensor,
    look_images: &Tensor,
    text: &TextTokens,
    size: (usize, usize),
) -> Result<Prediction> {
    let output = model.segment_images(images, look_images, text)?;
    let logits = seg_ops::resize(&output.low_res_masks, size, &Resize::bilinear())?;
    let decoded = ClickPrediction {
        masks: output.low_res_masks,
        ious: output.iou_predictions,
        object_scores: output.object_score_logits,
    };
    Ok(Prediction::new(logits, vec![decoded], &output.prior)?)
}

/// What is minimised: focal and Dice losses of the masks, and how alike the masks are to the sentence's feature.
///
/// The first two are divided by the number of frames that show the object, although they are means over a clip already: as published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Factor of the focal loss.
    pub mask: f64,
    /// Factor of the Dice loss.
    pub dice: f64,
    /// Factor of the similarity loss.
    pub similarity: f64,
}

/// Its parts, scalars without their factors.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Focal loss: a clip's mean over frames and pixels, summed over clips, divided by the number of valid frames.
    pub mask: Tensor,
    /// Dice loss of each clip as one mask of all its frames, summed over clips, divided by the number of valid frames.
    pub dice: Tensor,
    /// [`similarity`] of prediction and truth, their squared difference averaged over frames.
    pub similarity: Tensor,
    /// The sum with factors: what is minimised.
    pub total: Tensor,
}

impl Objective {
    /// The published one.
    pub const MPG_SAM2: Self = Self { mask: 2., dice: 5., similarity: 2. };

    /// `logits` and `masks` (0 or 1) are `[B, T, 1, H, W]`; `valid` `[B, T]` has 1 for frames that show the object and 0 for others, whose
    /// masks are empty; `sentence` `[B, T]` is the scalar that the sentence has on each frame.
    ///
    /// # Errors
    /// Besides candle's, tensors of other shapes.
    pub fn forward(&self, logits: &Tensor, masks: &Tensor, valid: &Tensor, sentence: &Tensor) -> Result<Terms> {
        let (clips, frames, _, _, _) = logits.dims5()?;
        expect_shape("masks", masks, logits.dims())?;
        expect_shape("valid", valid, &[clips, frames])?;
        expect_shape("sentence", sentence, &[clips, frames])?;
        let shown = valid.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.max(1.);

        // BEiT-3 may compute in another type than SAM 2
        let (masks, sentence) = (&masks.to_dtype(logits.dtype())?, sentence.to_dtype(logits.dtype())?);
        let focal = FocalLoss::MASKS.forward(logits, masks)?.flatten_from(1)?.mean(1)?;
        let probabilities = seg_ops::activate(logits, Activation::Sigmoid)?;
        let dice = soft_dice_loss(&probabilities.flatten_from(1)?, &masks.flatten_from(1)?)?;
        let (mask, dice) = ((focal.sum_all()? / shown)?, (dice.sum_all()? / shown)?);

        let sentence = sentence.flatten_all()?;
        let of = |maps: &Tensor| similarity(&maps.flatten_to(1)?.flatten_from(1)?, &sentence);
        let similarity = (of(&probabilities)? - of(&masks.detach())?)?.sqr()?.mean_all()?;
        let total = (((&mask * self.mask)? + (&dice * self.dice)?)? + (&similarity * self.similarity)?)?;
        Ok(Terms { mask, dice, similarity, total })
    }
}

/// Cosine similarity of each map with a constant map of the sentence's scalar: `[N, P]` and `[N]` to `[N]`.
///
/// A constant has no direction of its own but its sign, and that is in both similarities whose difference is squared: the scalar has no influence on the loss, its
/// gradient is zero, and what is compared is the maps' sums over their norms. An empty map has similarity 0.
fn similarity(maps: &Tensor, sentence: &Tensor) -> candle_core::Result<Tensor> {
    /// Norms are at least this.
    const SMALLEST: f64 = 1e-8;
    let width = (maps.dim(1)? as f64).sqrt();
    let norm = |x: Tensor| x.maximum(SMALLEST);
    let sentence = (sentence / norm((sentence.abs()? * width)?)?)?;
    // where a map is empty its norm has no slope: that of the floor, 0
    let squares = maps.sqr()?.sum(1)?;
    let empty = squares.eq(0f64)?;
    let lengths = norm(empty.where_cond(&empty.to_dtype(maps.dtype())?, &squares)?.sqrt()?)?;
    (maps.sum(1)? / lengths)? * sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Two clips of two frames of 2×3 pixels; the last frame is empty.
    fn example() -> Result<(Vec<f64>, Tensor, Tensor, Tensor)> {
        let device = Device::Cpu;
        let logits = (0..24).map(|i| (f64::from(i) * 1.7).sin() * 3.).collect();
        let masks: Vec<f64> = (0..24).map(|i| f64::from(u8::from(i % 3 == 0 && i < 18))).collect();
        let masks = Tensor::from_vec(masks, (2, 2, 1, 2, 3), &device)?;
        let valid = Tensor::new(&[[1f64, 1.], [1., 0.]], &device)?;
        Ok((logits, masks, valid, Tensor::new(&[[0.3f64, -0.2], [1.5, 0.01]], &device)?))
    }

    #[test]
    fn gradients_are_difference_quotients_and_the_sentence_has_none() -> Result<()> {
        let (start, masks, valid, sentence) = example()?;
        let at = |values: &[f64], sentence: &Tensor| -> Result<Terms> {
            let logits = Tensor::new(values, &Device::Cpu)?.reshape(masks.shape())?;
            Objective::MPG_SAM2.forward(&logits, &masks, &valid, sentence)
        };
        let total = |values: &[f64]| -> Result<f64> { Ok(at(values, &sentence)?.total.to_scalar()?) };
        let var = Var::from_tensor(&Tensor::new(start.as_slice(), &Device::Cpu)?.reshape(masks.shape())?)?;
        let of_sentence = Var::from_tensor(&sentence)?;
        let grads = Objective::MPG_SAM2.forward(&var, &masks, &valid, &of_sentence)?.total.backward()?;
        let none = grads.get(&of_sentence).expect("a gradient").abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(none < 1e-12, "{none}");
        let grad = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
        for i in 0..start.len() {
            let (mut up, mut down) = (start.clone(), start.clone());
            up[i] += 1e-6;
            down[i] -= 1e-6;
            let quotient = (total(&up)? - total(&down)?) / 2e-6;
            assert!((quotient - grad[i]).abs() < 1e-7, "{i}: {quotient} {}", grad[i]);
        }
        let other = at(&start, &(sentence.neg()? * 40.)?)?.total.to_scalar::<f64>()?;
        assert!((other - total(&start)?).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn empty_clips_and_empty_maps_stay_finite() -> Result<()> {
        let zeros = Tensor::zeros((1, 1, 1, 2, 3), DType::F32, &Device::Cpu)?;
        let none = Tensor::zeros((1, 1), DType::F32, &Device::Cpu)?;
        // every probability is 0 in single precision: no map has a norm
        let logits = Var::from_tensor(&(&zeros - 1e4)?)?;
        let terms = Objective::MPG_SAM2.forward(&logits, &zeros, &none, &none)?;
        assert_eq!(terms.total.to_scalar::<f32>()?, 0.);
        let grad = terms.total.backward()?.get(&logits).expect("a gradient").flatten_all()?.to_vec1::<f32>()?;
        assert!(grad.iter().all(|g| *g == 0.), "{grad:?}");
        Ok(())
    }

    #[test]
    fn other_shapes_are_refused() -> Result<()> {
        let (start, masks, valid, sentence) = example()?;
        let logits = Tensor::new(start.as_slice(), &Device::Cpu)?.reshape(masks.shape())?;
        let narrow = masks.narrow(4, 0, 2)?;
        let message = Objective::MPG_SAM2.forward(&logits, &narrow, &valid, &sentence).unwrap_err().to_string();
        assert!(message.contains("masks") && message.contains("[2, 2, 1, 2, 3]"), "{message}");
        assert!(Objective::MPG_SAM2.forward(&logits, &masks, &valid.narrow(1, 0, 1)?, &sentence).is_err());
        Ok(())
    }
}
