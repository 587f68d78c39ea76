//! The loss of SAM2-UNet and SAM2-UNeXT: cross-entropy and IoU, with more weight near edges.

use super::pieces::binary_cross_entropy_with_logits;
use crate::{Result, TrainError};
use candle_core::Tensor;
use seg_ops::{Activation, Layout, Pool2dParams};

/// How the cross-entropy is averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossEntropy {
    /// Plainly, over the whole batch: what the published training does. Its code weighs what is a mean by then.
    #[default]
    Plain,
    /// With the weights of [`StructureLoss::weights`], map by map: what the name of the loss (F³Net, arXiv 1911.11445) stands for.
    Weighted,
}

/// `structure_loss` of train.py (WZH0120/SAM2-UNet, WZH0120/SAM2-UNeXT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StructureLoss {
    /// The average of the cross-entropy.
    pub cross_entropy: CrossEntropy,
}

/// A pixel's surroundings: zeros outside the image count.
const SURROUNDINGS: Pool2dParams =
    Pool2dParams { kernel: 31, stride: 1, padding: 15, ceil_mode: false, layout: Layout::Nchw };

impl StructureLoss {
    /// `1 + 5·|mean of the surroundings − mask|`: 1 far from edges, up to 6 at what is thin. `[B, 1, H, W]`, sides of at least 1, to the same.
    pub fn weights(mask: &Tensor) -> candle_core::Result<Tensor> {
        (seg_ops::avg_pool2d(mask, &SURROUNDINGS)? - mask)?.abs()?.affine(5., 1.)
    }

    /// `logits` and `mask` (0..1, no gradient) are `[B, 1, H, W]`; a scalar, the mean over the batch.
    ///
    /// # Errors
    /// Besides candle's, shapes that differ.
    pub fn forward(&self, logits: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let mask = &mask.detach();
        self.weighted(logits, mask, &Self::weights(mask)?)
    }

    /// As [`Self::forward`], with the [`Self::weights`] of the mask, which are the same for all outputs of a network.
    ///
    /// # Errors
    /// As there.
    pub fn weighted(&self, logits: &Tensor, mask: &Tensor, weights: &Tensor) -> Result<Tensor> {
        if logits.rank() != 4 || logits.shape() != mask.shape() {
            let expected = format!("[B, 1, H, W], that of the logits, {:?}", logits.shape());
            return Err(TrainError::Shape { tensor: "mask", got: mask.shape().clone(), expected });
        }
        let mask = &mask.detach();
        let sum = |x: Tensor| x.flatten_from(2)?.sum(2); // [B, 1]
        let entropy = binary_cross_entropy_with_logits(logits, mask)?;
        let entropy = match self.cross_entropy {
            CrossEntropy::Plain => entropy.mean_all()?,
            CrossEntropy::Weighted => (sum((weights * entropy)?)? / sum(weights.clone())?)?.mean_all()?,
        };
        let p = seg_ops::activate(logits, Activation::Sigmoid)?;
        let intersection = sum(((&p * mask)? * weights)?)?;
        let union = (sum(((&p + mask)? * weights)?)? - &intersection)?;
        let iou = ((intersection + 1.)? / (union + 1.)?)?.affine(-1., 1.)?.mean_all()?;
        Ok((entropy + iou)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// `[2, 1, 3, 4]`: logits and a mask with soft edges.
    fn example() -> candle_core::Result<(Tensor, Tensor)> {
        let logits = Tensor::arange(0f64, 24., &Device::Cpu)?.affine(0.3, -3.)?.reshape((2, 1, 3, 4))?;
        let mask = Tensor::arange(0f64, 24., &Device::Cpu)?.affine(1.7, 0.)?.sin()?.affine(0.5, 0.5)?;
        Ok((logits, mask.reshape((2, 1, 3, 4))?))
    }

    #[test]
    fn weights_grow_towards_edges() -> Result<()> {
        let mut mask = vec![0f64; 64 * 64];
        mask.chunks_mut(64).for_each(|row| row[32..].fill(1.));
        let weights = StructureLoss::weights(&Tensor::from_vec(mask, (1, 1, 64, 64), &Device::Cpu)?)?;
        let row = weights.squeeze(0)?.squeeze(0)?.get(32)?.to_vec1::<f64>()?;
        assert_eq!(row[8], 1.);
        assert!(row[20] < row[31] && (row[31] - (1. + 5. * 15. / 31.)).abs() < 1e-12, "{row:?}");
        Ok(())
    }

    #[test]
    fn by_hand_without_edges() -> Result<()> {
        // nothing inside: weights are 1 everywhere
        let logits = Tensor::new(&[0f64, 0., 0., 0.], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
        let loss = StructureLoss::default().forward(&logits, &logits.zeros_like()?)?.to_scalar::<f64>()?;
        assert!((loss - (2f64.ln() + 1. - 1. / 3.)).abs() < 1e-12, "{loss}");
        Ok(())
    }

    #[test]
    fn gradients_are_difference_quotients() -> Result<()> {
        let (logits, mask) = example()?;
        let start = logits.flatten_all()?.to_vec1::<f64>()?;
        for cross_entropy in [CrossEntropy::Plain, CrossEntropy::Weighted] {
            let loss = StructureLoss { cross_entropy };
            let at = |values: &[f64]| -> Result<f64> {
                let logits = Tensor::new(values, &Device::Cpu)?.reshape((2, 1, 3, 4))?;
                Ok(loss.forward(&logits, &mask)?.to_scalar()?)
            };
            let var = Var::from_tensor(&logits)?;
            let grads = loss.forward(&var, &mask)?.backward()?;
            let grad = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
            for i in 0..start.len() {
                let (mut up, mut down) = (start.clone(), start.clone());
                up[i] += 1e-6;
                down[i] -= 1e-6;
                let quotient = (at(&up)? - at(&down)?) / 2e-6;
                assert!((quotient - grad[i]).abs() < 1e-7, "{i}: {quotient} {}", grad[i]);
            }
        }
        Ok(())
    }

    #[test]
    fn a_mask_of_another_size_is_refused() -> Result<()> {
        let (logits, mask) = example()?;
        let message = StructureLoss::default().forward(&logits, &mask.narrow(3, 0, 2)?).unwrap_err().to_string();
        assert!(message.contains("mask") && message.contains("[2, 1, 3, 4]"), "{message}");
        Ok(())
    }
}
