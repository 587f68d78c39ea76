//! Training of MGD-SAM2 (train.py and models/sam.py of sevenshr/MGD-SAM2).

use crate::losses::{binary_cross_entropy_with_logits, soft_iou_loss};
use crate::schedule::{Curve, Per, Schedule};
use crate::{Result, TrainError};
use candle_core::Tensor;
use multiview_fusion::ViewGrid;
use seg_models::mgd_sam2::MgdSam2Output;
use seg_ops::Activation;

/// What the published training is set to: AdamW with torch's defaults otherwise. Which weights move, and how fast, say
/// [`MgdSam2::parameter_rules`](seg_models::mgd_sam2::MgdSam2::parameter_rules).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Images of a step.
    pub batch_size: usize,
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// Epochs.
    pub epochs: usize,
}

impl Recipe {
    /// On DIS5K.
    pub const DIS: Self = Self { batch_size: 2, learning_rate: 2e-4, epochs: 60 };
    /// On DUTS-TR with HRSOD.
    pub const HRSOD: Self = Self { epochs: 80, ..Self::DIS };

    /// The learning rates: they fall to 0 by the power 0.9 of what is left.
    pub fn schedule(&self) -> Schedule {
        Schedule { lr: self.learning_rate, warm_up: 0, per: Per::Epoch, curve: Curve::Poly { power: 0.9 } }
    }
}

/// What is minimised: cross-entropy and soft IoU (not smoothed) of the masks, and a part of the same of the views' masks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Factor of the views' loss.
    pub views: f64,
}

/// Its parts, scalars.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Cross-entropy of the masks.
    pub cross_entropy: Tensor,
    /// Soft IoU loss of the masks.
    pub iou: Tensor,
    /// Cross-entropy of the views' masks, without the factor.
    pub views_cross_entropy: Tensor,
    /// Soft IoU loss of the views' masks, without the factor.
    pub views_iou: Tensor,
    /// Both of the views, with the factor.
    pub views: Tensor,
    /// The sum: what is minimised.
    pub total: Tensor,
}

impl Objective {
    /// The published one.
    pub const MGD_SAM2: Self = Self { views: 0.3 };

    /// `masks` `[B, 1, H, W]` in 0..1 are the right answer of `output.masks`; those of the views follow from them.
    ///
    /// # Errors
    /// Besides candle's, masks of another shape.
    pub fn forward(&self, output: &MgdSam2Output, masks: &Tensor) -> Result<Terms> {
        if masks.shape() != output.masks.shape() {
            let expected = format!("that of the output, {:?}", output.masks.shape());
            return Err(TrainError::Shape { tensor: "masks", got: masks.shape().clone(), expected });
        }
        let of_views = ViewGrid::MGD_SAM2.split_masks(masks)?;
        let (cross_entropy, iou) = both(&output.masks, masks)?;
        let (views_cross_entropy, views_iou) = both(&output.view_masks, &of_views)?;
        let views = ((&views_cross_entropy + &views_iou)? * self.views)?;
        let total = ((&cross_entropy + &iou)? + &views)?;
        Ok(Terms { cross_entropy, iou, views_cross_entropy, views_iou, views, total })
    }
}

/// Cross-entropy and soft IoU loss of logits.
fn both(logits: &Tensor, masks: &Tensor) -> Result<(Tensor, Tensor)> {
    let cross_entropy = binary_cross_entropy_with_logits(logits, masks)?.mean_all()?;
    Ok((cross_entropy, soft_iou_loss(&seg_ops::activate(logits, Activation::Sigmoid)?, masks, 0.)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gradients_are_difference_quotients() -> Result<()> {
        let device = Device::Cpu;
        let masks =
            Tensor::arange(0f64, 16., &device)?.affine(1.7, 0.)?.sin()?.affine(0.5, 0.5)?.reshape((1, 1, 4, 4))?;
        let views = Tensor::arange(0f64, 20., &device)?.affine(0.3, -3.)?.reshape((5, 1, 2, 2))?;
        let start: Vec<f64> = (0..16).map(|i| f64::from(i) * 0.4 - 3.).collect();
        let total = |masks_of: &Tensor, views: &Tensor| -> Result<Tensor> {
            let output = MgdSam2Output { masks: masks_of.clone(), view_masks: views.clone() };
            Ok(Objective::MGD_SAM2.forward(&output, &masks)?.total)
        };
        let var = Var::from_tensor(&Tensor::new(start.as_slice(), &device)?.reshape((1, 1, 4, 4))?)?;
        let view_var = Var::from_tensor(&views)?;
        let grads = total(&var, &view_var)?.backward()?;
        assert!(grads.get(&view_var).is_some());
        let grad = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
        for i in 0..16 {
            let at = |step: f64| -> Result<f64> {
                let mut values = start.clone();
                values[i] += step;
                Ok(total(&Tensor::new(values, &device)?.reshape((1, 1, 4, 4))?, &views)?.to_scalar()?)
            };
            let quotient = (at(1e-6)? - at(-1e-6)?) / 2e-6;
            assert!((quotient - grad[i]).abs() < 1e-7, "{i}: {quotient} {}", grad[i]);
        }
        Ok(())
    }
}
