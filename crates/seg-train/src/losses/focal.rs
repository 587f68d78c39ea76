//! Cross-entropy that looks away from what is easy.

use super::pieces::binary_cross_entropy_with_logits;
use candle_core::{Result, Tensor};
use seg_ops::Activation;

/// Sigmoid focal loss (RetinaNet, arXiv 1708.02002): cross-entropy times `(1 − p)^gamma`, with `p` the probability given to the right answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FocalLoss {
    /// Weight of pixels inside; those outside have one less it. Without it both count alike.
    pub alpha: Option<f64>,
    /// How much what is nearly right counts less. At 0 this is the cross-entropy.
    pub gamma: f64,
}

impl FocalLoss {
    /// RetinaNet's setting, for masks of SAM 2 and MPG-SAM 2.
    pub const MASKS: Self = Self { alpha: Some(0.25), gamma: 2. };
    /// No focus at all: for SAM 2's object scores.
    pub const NONE: Self = Self { alpha: None, gamma: 0. };

    /// Element by element: `logits` and `target` (0..1) of one shape, to that shape. The target gets no gradient.
    pub fn forward(&self, logits: &Tensor, target: &Tensor) -> Result<Tensor> {
        let target = target.detach();
        let mut loss = binary_cross_entropy_with_logits(logits, &target)?;
        if self.gamma != 0. {
            let p = seg_ops::activate(logits, Activation::Sigmoid)?;
            // probability of the wrong answer: p + t − 2pt
            let wrong = ((&p + &target)? - (p * &target)?.affine(2., 0.)?)?;
            loss = (loss * if self.gamma == 2. { wrong.sqr()? } else { wrong.powf(self.gamma)? })?;
        }
        match self.alpha {
            Some(alpha) => loss * target.affine(2. * alpha - 1., 1. - alpha)?,
            None => Ok(loss),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn by_hand() -> Result<()> {
        let device = Device::Cpu;
        // probabilities 0.8 and 0.2 given to the right answer
        let logits = Tensor::new(&[4f64.ln(), 4f64.ln()], &device)?;
        let target = Tensor::new(&[1f64, 0.], &device)?;
        let loss = FocalLoss::MASKS.forward(&logits, &target)?.to_vec1::<f64>()?;
        assert!((loss[0] + 0.25 * 0.04 * 0.8f64.ln()).abs() < 1e-12, "{loss:?}");
        assert!((loss[1] + 0.75 * 0.64 * 0.2f64.ln()).abs() < 1e-12, "{loss:?}");
        let plain = FocalLoss::NONE.forward(&logits, &target)?.to_vec1::<f64>()?;
        assert!((plain[1] + 0.2f64.ln()).abs() < 1e-12, "{plain:?}");
        Ok(())
    }
}
