//! Batch norm.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::VarBuilder;
use seg_ops::{BatchNormed, Pass};

use crate::{Conv2d, trace};

/// Which statistics batch norms take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norms {
    /// The running ones: evaluation.
    #[default]
    Running,
    /// The batch's, which move the running ones: train mode.
    Batch,
    /// The batch's, which have moved the running ones already: a pass that is made again for its gradients.
    BatchAgain,
}

impl From<bool> for Norms {
    /// Whether in train mode.
    fn from(train: bool) -> Self {
        if train { Self::Batch } else { Self::Running }
    }
}

impl Norms {
    /// For a pass of [`seg_ops::checkpoint`].
    #[must_use]
    pub fn on(self, pass: Pass) -> Self {
        match (self, pass) {
            (Self::Batch, Pass::Again) => Self::BatchAgain,
            _ => self,
        }
    }
}

/// Batch norm over the channels of a channels-last map (torch's `nn.BatchNorm2d`, `eps` 1e-5, momentum 0.1).
///
/// Keys: `weight`, `bias`, `running_mean`, `running_var`, all `[C]`; torch's `num_batches_tracked` is never needed. In evaluation it
/// is no layer of its own: [`Self::fold_into`] makes it part of the convolution before it.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    // never optimised, but changed by training: a variable of the builder's is the one that changes, so that it can be saved
    running_mean: Var,
    running_var: Var,
}

impl BatchNorm {
    const EPS: f64 = 1e-5;
    const MOMENTUM: f64 = 0.1;

    /// Reads the four vectors.
    pub fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            weight: vb.get(channels, "weight")?,
            bias: vb.get(channels, "bias")?,
            running_mean: Var::from_tensor(&vb.get(channels, "running_mean")?)?,
            running_var: Var::from_tensor(&vb.get(channels, "running_var")?)?,
        })
    }

    /// Whether weight or bias is a variable.
    pub(crate) fn is_trainable(&self) -> bool {
        self.weight.is_variable() || self.bias.is_variable()
    }

    /// `[C]`: mean of each channel over the course of training.
    pub fn running_mean(&self) -> Tensor {
        self.running_mean.as_detached_tensor()
    }

    /// `[C]`: variance of each channel over the course of training.
    pub fn running_var(&self) -> Tensor {
        self.running_var.as_detached_tensor()
    }

    /// `γ/√(σ²+ε)` and the running mean, `[C]`, of 16-bit statistics as 32-bit ones: they would lose their epsilon.
    fn scale_and_mean(&self) -> Result<(Tensor, Tensor)> {
        let inverse_std = (wide(&self.running_var())? + Self::EPS)?.sqrt()?.recip()?;
        Ok(((wide(&self.weight)? * inverse_std)?, wide(&self.running_mean())?))
    }

    /// The convolution that does what `conv` and then this norm with its running statistics do:
    /// `w' = w·γ/√(σ²+ε)`, `b' = β + (b − μ)·γ/√(σ²+ε)`. Gradients reach `conv`'s weights and this norm's.
    pub fn fold_into(&self, conv: &Conv2d) -> Result<Conv2d> {
        let dtype = conv.weight.dtype();
        let (scale, mean) = self.scale_and_mean()?;
        let shift = match &conv.bias {
            Some(bias) => (wide(bias)? - mean)?,
            None => mean.neg()?,
        };
        Ok(Conv2d {
            weight: wide(&conv.weight)?.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?.to_dtype(dtype)?,
            bias: Some((wide(&self.bias)? + (shift * scale)?)?.to_dtype(dtype)?),
            params: conv.params,
        })
    }

    /// `[..., C]` normalised: with the running statistics, or in train mode with its own. For norms that follow no convolution that they could be
    /// folded into.
    pub fn forward_t(&self, x: &Tensor, norms: impl Into<Norms>) -> Result<Tensor> {
        let norms = norms.into();
        if norms != Norms::Running {
            return self.forward_train(x, norms == Norms::Batch);
        }
        let _span = trace::layer("batch_norm", || 0);
        let (scale, mean) = self.scale_and_mean()?;
        let shift = (wide(&self.bias)? - (mean * &scale)?)?;
        wide(x)?.broadcast_mul(&scale)?.broadcast_add(&shift)?.to_dtype(x.dtype())
    }

    /// Train mode: `[..., C]` normalised with its own statistics, which where `moves` says so move the running ones by a tenth.
    ///
    /// # Errors
    /// Besides candle's, an input with fewer than two elements a channel.
    pub(crate) fn forward_train(&self, x: &Tensor, moves: bool) -> Result<Tensor> {
        let _span = trace::layer("batch_norm", || 0);
        let BatchNormed { output, mean, variance } = seg_ops::batch_norm(x, &self.weight, &self.bias, Self::EPS)?;
        if !moves {
            return Ok(output);
        }
        let n = (x.elem_count() / self.weight.elem_count().max(1)) as f64;
        // torch divides by one less for the running variance, though not for the normalisation
        let update = |running: &Var, batch: Tensor| {
            running.set(&((running.as_detached_tensor() * (1. - Self::MOMENTUM))? + (batch * Self::MOMENTUM)?)?)
        };
        update(&self.running_mean, mean)?;
        update(&self.running_var, (variance * (n / (n - 1.)))?)?;
        Ok(output)
    }
}

/// 16-bit numbers as 32-bit ones.
fn wide(t: &Tensor) -> Result<Tensor> {
    t.to_dtype(if matches!(t.dtype(), DType::F16 | DType::BF16) { DType::F32 } else { t.dtype() })
}
