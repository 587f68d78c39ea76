//! A convolution with a batch norm behind it.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::{Conv2dParams, Epilogue};

use crate::conv::Kernel;
use crate::{BatchNorm, Conv2d, Statistics};

/// Where a [`Conv2dBn`] finds its parts, and what they are to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvBnKeys {
    /// Name of the convolution.
    pub conv: &'static str,
    /// Whether the convolution has a bias of its own.
    pub conv_bias: bool,
    /// Name of the batch norm.
    pub norm: &'static str,
    /// Keep the parts apart even where no weight is a variable, so that [`Conv2dBn::forward_t`] can use the batch's
    /// statistics: a frozen model that is left in train mode.
    pub keep_apart: bool,
}

impl ConvBnKeys {
    /// TinyViT's `Conv2d_BN`: `c` without bias, `bn`.
    pub const TINY_VIT: Self = Self { conv: "c", conv_bias: false, norm: "bn", keep_apart: false };
}

/// A convolution and the batch norm behind it, in evaluation one convolution with the running statistics folded in.
///
/// Keys: `<conv>.weight`, `<conv>.bias` where there is one, `<norm>.{weight,bias,running_mean,running_var}`;
/// `num_batches_tracked` is never needed. Weights that are variables are folded again at every call, so that gradients reach them.
#[derive(Clone, Debug)]
pub struct Conv2dBn(Parts);

#[derive(Clone, Debug)]
enum Parts {
    /// Once, at loading.
    Folded(Conv2d),
    /// At every call, or in train mode not at all.
    Apart(Conv2d, BatchNorm),
}

impl Conv2dBn {
    /// Reads TinyViT's `Conv2d_BN`; see [`Self::with_keys`].
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        params: Conv2dParams,
        vb: VarBuilder,
    ) -> Result<Self> {
        Self::with_keys(in_channels, out_channels, kernel, params, ConvBnKeys::TINY_VIT, vb)
    }

    /// Reads the convolution and its batch norm.
    pub fn with_keys(
        in_channels: usize,
        out_channels: usize,
        kernel: impl Into<Kernel>,
        params: Conv2dParams,
        keys: ConvBnKeys,
        vb: VarBuilder,
    ) -> Result<Self> {
        let (kernel, conv_vb): (Kernel, _) = (kernel.into(), vb.pp(keys.conv));
        let conv = match keys.conv_bias {
            true => Conv2d::new(in_channels, out_channels, kernel, params, conv_vb)?,
            false => Conv2d::new_no_bias(in_channels, out_channels, kernel, params, conv_vb)?,
        };
        let norm = BatchNorm::new(out_channels, vb.pp(keys.norm))?;
        let norm = if keys.keep_apart { norm.left_in_train_mode() } else { norm };
        let trainable = conv.weight.is_variable() || conv.bias.as_ref().is_some_and(Tensor::is_variable);
        let apart = keys.keep_apart || trainable || norm.is_trainable();
        Ok(Self(if apart { Parts::Apart(conv, norm) } else { Parts::Folded(norm.fold_into(&conv)?) }))
    }

    /// The convolution and norm in evaluation, followed by `epilogue` in the same pass.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        match &self.0 {
            Parts::Folded(conv) => conv.forward_with(x, epilogue),
            Parts::Apart(conv, norm) => norm.fold_into(conv)?.forward_with(x, epilogue),
        }
    }

    /// As [`Self::forward_with`]; in train mode the norm uses statistics of batches and moves the running ones, unless it is frozen.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward_t<'a>(
        &self,
        x: &Tensor,
        epilogue: Epilogue<'_>,
        train: impl Into<Statistics<'a>>,
    ) -> Result<Tensor> {
        let train = train.into();
        let (conv, norm) = match (&self.0, train) {
            (Parts::Apart(conv, norm), Statistics::Unfold { across, count }) => {
                return norm.unfold_behind(conv, x, epilogue, across, count);
            }
            (Parts::Apart(conv, norm), _) if train.of_batch() && norm.follows_batches() => (conv, norm),
            _ => return self.forward_with(x, epilogue),
        };
        norm.follow(conv, x, None, epilogue, train)
    }

    /// [`Self::forward_t`] of `x`, resized to the size of `skip`, and `skip` side by side ([`seg_ops::resize_concat`]), channels last: in train mode what they are
    /// together is not kept. Both are consumed, so that their memory is free as soon as it can be.
    ///
    /// # Errors
    /// Candle's.
    pub fn forward_beside<'a>(
        &self,
        x: Tensor,
        skip: Tensor,
        epilogue: Epilogue<'_>,
        train: impl Into<Statistics<'a>>,
    ) -> Result<Tensor> {
        let train = train.into();
        if let Parts::Apart(conv, norm) = &self.0
            && train.of_batch()
            && norm.follows_batches()
        {
            return norm.follow(conv, &x, Some(&skip), epilogue, train);
        }
        let both = seg_ops::resize_concat(&x, &skip)?;
        drop((x, skip));
        self.forward_t(&both, epilogue, train)
    }

    /// Whether convolution and norm are kept apart: the weights are variables, or train mode was asked for.
    pub fn is_trained(&self) -> bool {
        matches!(self.0, Parts::Apart(..))
    }

    /// The batch norm, where it is kept apart.
    pub fn batch_norm(&self) -> Option<&BatchNorm> {
        match &self.0 {
            Parts::Folded(_) => None,
            Parts::Apart(_, norm) => Some(norm),
        }
    }
}

impl Module for Conv2dBn {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::NONE)
    }
}
