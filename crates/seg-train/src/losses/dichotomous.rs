//! What IS-Net and DIS-SAM are trained with: every output against the mask, every feature against the mask encoder's.

use super::pieces::{binary_cross_entropy, soft_iou_loss};
use crate::{Result, TrainError};
use candle_core::{D, Tensor};
use seg_ops::Resize;

/// How far a feature map is from that of the ground-truth encoder; each is a mean over all elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeatureDistance {
    /// Squared difference: what is used.
    #[default]
    Mse,
    /// Absolute difference.
    Mae,
    /// Half the square below 1, the absolute difference less a half above.
    SmoothL1,
    /// Kullback-Leibler divergence of the channels' softmax.
    Kl,
}

impl FeatureDistance {
    /// A scalar; both are `[B, C, H, W]`.
    pub fn forward(self, feature: &Tensor, target: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Mse => (feature - target)?.sqr()?.mean_all(),
            Self::Mae => (feature - target)?.abs()?.mean_all(),
            Self::SmoothL1 => {
                let size = (feature - target)?.abs()?;
                let near = (size.sqr()? * 0.5)?;
                size.lt(1f64)?.where_cond(&near, &(size - 0.5)?)?.mean_all()
            }
            Self::Kl => {
                let logs = log_softmax(feature)?;
                let target = log_softmax(target)?;
                (target.exp()? * (&target - logs)?)?.mean_all()
            }
        }
    }
}

/// Over the channels of `[B, C, H, W]`.
fn log_softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let x = x.broadcast_sub(&x.max_keepdim(1)?.detach())?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(1)?.log()?)
}

/// The loss over the side outputs and the features (`muti_loss_fusion_kl`, `IS_Net/models/isnet.py` of DIS-SAM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DichotomousLoss {
    /// Factor of the binary cross-entropy of each output.
    pub bce: f64,
    /// Factor of the soft IoU loss of each output.
    pub iou: f64,
    /// Factor of all outputs but the first.
    pub sides: f64,
    /// Distance between features.
    pub features: FeatureDistance,
}

/// The parts of a [`DichotomousLoss`], each a scalar.
#[derive(Clone, Debug)]
pub struct DichotomousTerms {
    /// Loss of the first output alone: the prediction.
    pub first: Tensor,
    /// Sum over all outputs and features: what is minimised.
    pub total: Tensor,
}

impl DichotomousLoss {
    /// IS-Net's own: cross-entropy alone.
    pub const IS_NET: Self = Self { bce: 1., iou: 0., sides: 1., features: FeatureDistance::Mse };
    /// DIS-SAM's: 20 times the cross-entropy and half the IoU loss.
    pub const DIS_SAM: Self = Self { bce: 20., iou: 0.5, sides: 1., features: FeatureDistance::Mse };

    /// `outputs`: probabilities `[B, 1, h, w]`, the prediction first. `target`: `[B, 1, H, W]` in 0..1, resized to an output of
    /// another size with corners aligned. `features`: the net's and the mask encoder's, pairwise of one shape; the latter get no gradient.
    ///
    /// # Errors
    /// No outputs, or a different number of features on the two sides.
    pub fn forward(
        &self,
        outputs: &[Tensor],
        target: &Tensor,
        features: Option<(&[Tensor], &[Tensor])>,
    ) -> Result<DichotomousTerms> {
        let mut terms = Vec::with_capacity(outputs.len());
        // what does not count is not computed
        let counted = if self.sides == 0. { 1 } else { outputs.len() };
        for (i, output) in outputs.iter().take(counted).enumerate() {
            let term = self.output(output, target)?;
            terms.push(if i == 0 || self.sides == 1. { term } else { (term * self.sides)? });
        }
        let Some(first) = terms.first().cloned() else {
            return Err(TrainError::Count { what: "outputs of the network", got: 0, expected: 1 });
        };
        if let Some((ours, encoded)) = features {
            if ours.len() != encoded.len() {
                let what = "features of the mask encoder";
                return Err(TrainError::Count { what, got: encoded.len(), expected: ours.len() });
            }
            for (feature, target) in ours.iter().zip(encoded) {
                terms.push(self.features.forward(feature, &target.detach())?);
            }
        }
        Ok(DichotomousTerms { first, total: Tensor::stack(&terms, 0)?.sum_all()? })
    }

    fn output(&self, output: &Tensor, target: &Tensor) -> Result<Tensor> {
        let size = (output.dim(D::Minus2)?, output.dim(D::Minus1)?);
        let target = match (target.dim(D::Minus2)?, target.dim(D::Minus1)?) == size {
            true => target.clone(),
            false => seg_ops::resize(target, size, &Resize::bilinear().align_corners())?,
        };
        let mut loss = (binary_cross_entropy(output, &target)? * self.bce)?;
        if self.iou != 0. {
            loss = (loss + (soft_iou_loss(output, &target, 1.)? * self.iou)?)?;
        }
        Ok(loss)
    }
}
