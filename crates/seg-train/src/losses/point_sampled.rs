//! Mask losses at points, more of them where the prediction is unsure (PointRend, as Mask2Former and Pi-SAM use it).

use super::pieces::{binary_cross_entropy_with_logits, soft_dice_loss};
use crate::random::Uniform;
use crate::{Result, TrainError};
use candle_core::{DType, Shape, Tensor};
use seg_ops::Layout;

/// Losses of masks at a few thousand points instead of all pixels (`segment_anything/modeling/loss.py` of Pi-SAM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointSampledMaskLoss {
    /// Points a mask.
    pub num_points: usize,
    /// So many times more candidates are drawn to choose the unsure ones from.
    pub oversample_ratio: f64,
    /// Share of the points that are chosen for being unsure (logits near 0); the others are drawn evenly.
    pub importance_sample_ratio: f64,
}

impl Default for PointSampledMaskLoss {
    /// 12,544 points (112²), three quarters of them the least sure of three times as many.
    fn default() -> Self {
        Self { num_points: 112 * 112, oversample_ratio: 3., importance_sample_ratio: 0.75 }
    }
}

/// The losses, scalars.
#[derive(Clone, Debug)]
pub struct MaskLosses {
    /// Binary cross-entropy, averaged over points and masks.
    pub mask: Tensor,
    /// Dice loss, averaged over masks.
    pub dice: Tensor,
}

impl PointSampledMaskLoss {
    /// `logits` and `target` (0..1) are `[B, 1, h, w]` and `[B, 1, H, W]`: positions are parts of the side, so sizes may differ.
    /// `valid`: `[B]`, 1 for masks that count and 0 for the others; none of them counting gives 0.
    pub fn forward(
        &self,
        logits: &Tensor,
        target: &Tensor,
        valid: Option<&Tensor>,
        random: &mut dyn Uniform,
    ) -> Result<MaskLosses> {
        let points = self.points(&logits.detach(), random)?;
        self.at_points(logits, target, &points, valid)
    }

    /// The losses at given points, `[B, P, 2]`: x and y as parts of the sides, 0..1.
    pub fn at_points(
        &self,
        logits: &Tensor,
        target: &Tensor,
        points: &Tensor,
        valid: Option<&Tensor>,
    ) -> Result<MaskLosses> {
        let labels = sample_points(&target.detach(), points)?;
        let logits = sample_points(logits, points)?;
        let masks = logits.dim(0)?;
        let bce = binary_cross_entropy_with_logits(&logits, &labels)?.mean(1)?;
        let dice = soft_dice_loss(&candle_nn::ops::sigmoid(&logits)?, &labels)?;
        let average = |loss: Tensor| -> Result<Tensor> {
            Ok(match valid {
                None => (loss.sum_all()? / masks as f64)?,
                Some(valid) => {
                    let count = valid.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
                    ((loss * valid.to_dtype(logits.dtype())?)?.sum_all()? / if count == 0. { 1. } else { count })?
                }
            })
        };
        Ok(MaskLosses { mask: average(bce)?, dice: average(dice)? })
    }

    /// Draws points for `logits` `[B, 1, h, w]`: first the least sure of the candidates, then evenly drawn ones. `[B, num_points, 2]`.
    ///
    /// # Errors
    /// Another number of channels than 1, or ratios that make no sense.
    pub fn points(&self, logits: &Tensor, random: &mut dyn Uniform) -> Result<Tensor> {
        let (masks, channels, _, _) = logits.dims4()?;
        if channels != 1 {
            let got = logits.shape().clone();
            return Err(TrainError::Shape { tensor: "logits", got, expected: "[B, 1, H, W]".into() });
        }
        let setting = |name, got, expected| Err(TrainError::Setting { name, got, expected });
        if self.oversample_ratio.is_nan() || self.oversample_ratio < 1. {
            return setting("oversample_ratio", self.oversample_ratio, "1 or more");
        }
        if !(0. ..=1.).contains(&self.importance_sample_ratio) {
            return setting("importance_sample_ratio", self.importance_sample_ratio, "0 to 1");
        }
        let device = logits.device();
        let candidates = (self.num_points as f64 * self.oversample_ratio) as usize;
        let unsure = (self.num_points as f64 * self.importance_sample_ratio) as usize;
        let drawn = random.uniform(&Shape::from((masks, candidates, 2)), device)?.to_dtype(logits.dtype())?;
        let sureness = sample_points(logits, &drawn)?.abs()?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let mut chosen = Vec::with_capacity(masks * unsure);
        for (mask, sureness) in sureness.iter().enumerate() {
            let mut order: Vec<usize> = (0..candidates).collect();
            order.sort_by(|&a, &b| sureness[a].total_cmp(&sureness[b]));
            chosen.extend(order[..unsure].iter().map(|&i| (mask * candidates + i) as u32));
        }
        let chosen = Tensor::from_vec(chosen, masks * unsure, device)?;
        let points = drawn.reshape((masks * candidates, 2))?.index_select(&chosen, 0)?.reshape((masks, unsure, 2))?;
        if unsure == self.num_points {
            return Ok(points);
        }
        let even = random.uniform(&Shape::from((masks, self.num_points - unsure, 2)), device)?;
        Ok(Tensor::cat(&[&points, &even.to_dtype(logits.dtype())?], 1)?)
    }
}

/// Values of one-channel maps `[B, 1, H, W]` at `points` `[B, P, 2]`, bilinear and 0 outside: `[B, P]`.
pub fn sample_points(map: &Tensor, points: &Tensor) -> Result<Tensor> {
    let (batch, count, _) = points.dims3()?;
    let grid = points.affine(2., -1.)?.unsqueeze(2)?; // [B, P, 1, 2], -1..1
    Ok(seg_ops::grid_sample(map, &grid, Layout::Nchw)?.reshape((batch, count))?)
}
