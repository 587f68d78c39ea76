//! Training of DIS-SAM's refiner and of IS-Net (`IS_Net/train_valid_inference_main.py` of Tennine2077/DIS-SAM).

use crate::Result;
use crate::losses::{DichotomousLoss, orthogonality};
use candle_core::Tensor;
use detail_refine::IsNetOutput;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The loss of outputs and features.
    pub loss: DichotomousLoss,
    /// Factor of the weights' [`orthogonality`]; 0 leaves it out.
    pub orthogonality: f64,
}

/// Its parts, scalars.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Loss of the prediction alone.
    pub first: Tensor,
    /// Loss of all outputs and features.
    pub outputs: Tensor,
    /// The orthogonality with its factor, where there is one.
    pub orthogonality: Option<Tensor>,
    /// The sum: what is minimised.
    pub total: Tensor,
}

impl Objective {
    /// IS-Net's own.
    pub const IS_NET: Self = Self { loss: DichotomousLoss::IS_NET, orthogonality: 0. };
    /// DIS-SAM's.
    pub const DIS_SAM: Self = Self { loss: DichotomousLoss::DIS_SAM, orthogonality: 1e-8 };
    /// The learning rate of DIS-SAM's training (Adam, no weight decay).
    pub const LEARNING_RATE: f64 = 4e-5;

    /// `output`: the network's, of which `labels` `[B, 1, H, W]` (0..1) are the right answer and `encoded` the features of the frozen mask encoder.
    /// `weights`: names and values of what is trained; those with `bias` in their name are not kept orthogonal.
    pub fn forward<'a>(
        &self,
        output: &IsNetOutput,
        labels: &Tensor,
        encoded: &[Tensor],
        weights: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Terms> {
        let terms = self.loss.forward(&output.probabilities, labels, Some((&output.features, encoded)))?;
        let (first, outputs) = (terms.first, terms.total);
        if self.orthogonality == 0. {
            return Ok(Terms { first, total: outputs.clone(), outputs, orthogonality: None });
        }
        let weights = weights.into_iter().filter(|(name, _)| !name.contains("bias")).map(|(_, weight)| weight);
        let apart = (orthogonality(weights)? * self.orthogonality)?;
        Ok(Terms { first, total: (&outputs + &apart)?, outputs, orthogonality: Some(apart) })
    }
}
