//! Batch norm.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::VarBuilder;
use seg_ops::{AllReduce, BatchNormed, ConvBatchNorm, Epilogue, Pass};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Conv2d, trace};

/// Which statistics batch norms take.
#[derive(Clone, Copy, Debug)]
pub enum Statistics<'a> {
    /// The running ones: evaluation.
    Running,
    /// The batch's, which move the running ones: training.
    Batch,
    /// Those of the batches of all processes together (PyTorch's `SyncBatchNorm`).
    Across(&'a Arc<dyn AllReduce>),
    /// As [`Self::Batch`], for a batch that has moved the running ones already: a pass that is made again for its gradients.
    BatchAgain,
    /// As [`Self::Across`], likewise.
    AcrossAgain(&'a Arc<dyn AllReduce>),
    /// The running ones. Norms that learn and are the identity, because a file has folded them into their convolutions, become norms of the batches of all processes
    /// together that change nothing: the same answers, from which train mode can go on.
    Unfold {
        /// The processes.
        across: Option<&'a Arc<dyn AllReduce>>,
        /// Counts the norms that are made anew.
        count: &'a AtomicUsize,
    },
}

/// [`Statistics`] to keep for a pass that is made again.
#[derive(Clone, Debug)]
pub struct KeptStatistics(bool, Option<Arc<dyn AllReduce>>);

impl From<Statistics<'_>> for KeptStatistics {
    fn from(statistics: Statistics<'_>) -> Self {
        Self(statistics.of_batch(), statistics.group().cloned())
    }
}

impl KeptStatistics {
    /// Those of a pass of [`seg_ops::checkpoint`].
    pub fn on(&self, pass: Pass) -> Statistics<'_> {
        match (pass, self.0, &self.1) {
            (_, false, _) => Statistics::Running,
            (Pass::First, true, None) => Statistics::Batch,
            (Pass::First, true, Some(group)) => Statistics::Across(group),
            (Pass::Again, true, None) => Statistics::BatchAgain,
            (Pass::Again, true, Some(group)) => Statistics::AcrossAgain(group),
        }
    }
}

impl Statistics<'_> {
    /// Whether they are those of batches.
    pub fn of_batch(self) -> bool {
        !matches!(self, Self::Running | Self::Unfold { .. })
    }
}

impl<'a> Statistics<'a> {
    /// The processes whose batches are one.
    fn group(self) -> Option<&'a Arc<dyn AllReduce>> {
        match self {
            Self::Across(group) | Self::AcrossAgain(group) => Some(group),
            Self::Unfold { across, .. } => across,
            Self::Running | Self::Batch | Self::BatchAgain => None,
        }
    }
}

/// Train mode: the batch's or the running ones.
impl From<bool> for Statistics<'_> {
    fn from(train: bool) -> Self {
        if train { Self::Batch } else { Self::Running }
    }
}

/// Batch norm over the channels of a channels-last map (torch's `nn.BatchNorm2d`, `eps` 1e-5, momentum 0.1).
///
/// Keys: `weight`, `bias`, `running_mean`, `running_var`, all `[C]`; torch's `num_batches_tracked` is never needed. In evaluation it
/// is no layer of its own: [`Self::fold_into`] makes it part of the convolution before it.
///
/// A norm whose weights are no variables is frozen: in train mode, too, it takes the running statistics and leaves them as they are
/// ([`Self::left_in_train_mode`] is the exception).
#[derive(Clone, Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    // never optimised, but changed by training: a variable of the builder's is the one that changes, so that it can be saved
    running_mean: Var,
    running_var: Var,
    left_in_train_mode: bool,
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
            left_in_train_mode: false,
        })
    }

    /// A frozen norm that takes the batch's statistics in train mode all the same.
    #[must_use]
    pub fn left_in_train_mode(self) -> Self {
        Self { left_in_train_mode: true, ..self }
    }

    /// Whether train mode means anything to it: the rule for frozen norms.
    pub(crate) fn follows_batches(&self) -> bool {
        self.is_trainable() || self.left_in_train_mode
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

    /// The scale of a norm that learns and that a file has folded into its convolution: mean and scale are those of no norm at all. None of any other.
    fn folded_scale(&self) -> Result<Option<Tensor>> {
        if !(self.weight.is_variable() && self.bias.is_variable()) {
            return Ok(None);
        }
        let (scale, mean) = self.scale_and_mean()?;
        let scale = scale.detach();
        let most = |t: Tensor| t.to_dtype(DType::F64)?.abs()?.max_all()?.to_scalar::<f64>();
        // a fresh norm's scale is 5e-6 below 1
        Ok((most(mean)? == 0. && most((&scale - 1.)?)? < 1e-6).then_some(scale))
    }

    /// The convolution of `x` with this norm behind it by the running statistics, and what follows; a norm that learns and is the identity becomes one of the statistics of
    /// what it is given, with which it gives the same, and counts. No gradient comes of it.
    pub(crate) fn unfold_behind(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        epilogue: Epilogue<'_>,
        across: Option<&Arc<dyn AllReduce>>,
        count: &AtomicUsize,
    ) -> Result<Tensor> {
        let [weight, gamma, beta] = [&conv.weight, &self.weight, &self.bias].map(Tensor::detach);
        let plain = Conv2d { weight, bias: conv.bias.as_ref().map(Tensor::detach), params: conv.params };
        let x = x.detach();
        if let Some(scale) = self.folded_scale()? {
            let parts = ConvBatchNorm {
                weight: &plain.weight,
                bias: plain.bias.as_ref(),
                gamma: &gamma,
                beta: &beta,
                eps: Self::EPS,
                params: &conv.params,
                epilogue: Epilogue::NONE,
                across,
            };
            let BatchNormed { mean, variance, .. } = seg_ops::conv_batch_norm(&x, None, &parts)?;
            let set = |weight: &Tensor, value: Tensor| Var::from_tensor(weight)?.set(&value.to_dtype(weight.dtype())?);
            set(&self.bias, (wide(&beta)? + (&scale * wide(&mean)?)?)?)?;
            set(&self.weight, (scale * (wide(&variance)? + Self::EPS)?.sqrt()?)?)?;
            self.running_mean.set(&mean)?;
            self.running_var.set(&variance)?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        let folded = self.fold_into(&plain)?;
        let folded = Conv2d { weight: folded.weight.detach(), bias: folded.bias.map(|b| b.detach()), ..folded };
        folded.forward_with(&x, epilogue)
    }

    /// `[..., C]` normalised: with the running statistics, or in train mode, unless it is frozen, with its own, which move the running ones by a tenth.
    ///
    /// # Errors
    /// Besides candle's, in train mode an input with fewer than two elements a channel.
    pub fn forward_t<'a>(&self, x: &Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        if train.of_batch() && self.follows_batches() {
            let _span = trace::layer("batch_norm", || 0);
            let normed = seg_ops::batch_norm_across(x, &self.weight, &self.bias, Self::EPS, train.group())?;
            return self.moved(normed, train);
        }
        let _span = trace::layer("batch_norm", || 0);
        let (scale, mean) = self.scale_and_mean()?;
        let shift = (wide(&self.bias)? - (mean * &scale)?)?;
        wide(x)?.broadcast_mul(&scale)?.broadcast_add(&shift)?.to_dtype(x.dtype())
    }

    /// Train mode behind a convolution of `x`, or of `x` and `skip` side by side, with what follows.
    pub(crate) fn follow(
        &self,
        conv: &Conv2d,
        x: &Tensor,
        skip: Option<&Tensor>,
        epilogue: Epilogue<'_>,
        train: Statistics<'_>,
    ) -> Result<Tensor> {
        let _span = trace::layer("conv2d+batch_norm", || 0);
        let parts = ConvBatchNorm {
            weight: &conv.weight,
            bias: conv.bias.as_ref(),
            gamma: &self.weight,
            beta: &self.bias,
            eps: Self::EPS,
            params: &conv.params,
            epilogue,
            across: train.group(),
        };
        self.moved(seg_ops::conv_batch_norm(x, skip, &parts)?, train)
    }

    /// The output, after its statistics have moved the running ones by a tenth, unless they have before.
    fn moved(&self, normed: BatchNormed, train: Statistics<'_>) -> Result<Tensor> {
        let BatchNormed { output, mean, variance, count: n } = normed;
        if matches!(train, Statistics::BatchAgain | Statistics::AcrossAgain(_)) {
            return Ok(output);
        }
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
