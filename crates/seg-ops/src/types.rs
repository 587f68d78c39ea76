//! What several operations share: activations, memory layouts, and what follows a product.

use crate::error::{Result, check_like, shape_error};
use candle_core::Tensor;

/// A pointwise function after a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`, with gradient 0 at 0 as PyTorch has it.
    Relu,
    /// The exact GELU, `x Φ(x)` with the error function (not the tanh approximation).
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// Order of a feature map's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Channels first, `[B, C, H, W]`.
    #[default]
    Nchw,
    /// Channels last, `[B, H, W, C]`.
    Nhwc,
}

impl Layout {
    /// `(batch, channels, height, width)` of a feature map in this order.
    pub(crate) fn dims(self, op: &'static str, name: &'static str, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
        match (self, x.dims()) {
            (Self::Nchw, &[b, c, h, w]) => Ok((b, c, h, w)),
            (Self::Nhwc, &[b, h, w, c]) => Ok((b, c, h, w)),
            (Self::Nchw, _) => shape_error(op, name, x, "[B, C, H, W]"),
            (Self::Nhwc, _) => shape_error(op, name, x, "[B, H, W, C]"),
        }
    }

    /// The shape of a feature map in this order.
    pub(crate) fn shape(self, b: usize, c: usize, h: usize, w: usize) -> [usize; 4] {
        match self {
            Self::Nchw => [b, c, h, w],
            Self::Nhwc => [b, h, w, c],
        }
    }

    /// A feature map in this order as `[B, C, H, W]`, a view.
    pub(crate) fn to_nchw(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Nchw => Ok(x.clone()),
            Self::Nhwc => x.permute((0, 3, 1, 2)),
        }
    }

    /// A feature map `[B, C, H, W]` in this order; contiguous if it was.
    pub(crate) fn of_nchw(self, y: Tensor) -> Result<Tensor> {
        match self {
            Self::Nchw => Ok(y),
            Self::Nhwc => y.permute((0, 2, 3, 1))?.contiguous(),
        }
    }

    /// A feature map in this order as `[B, H, W, C]`, a view.
    pub(crate) fn to_nhwc(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Nchw => x.permute((0, 2, 3, 1)),
            Self::Nhwc => Ok(x.clone()),
        }
    }

    /// A feature map `[B, H, W, C]` in this order; contiguous if it was.
    pub(crate) fn of_nhwc(self, y: Tensor) -> Result<Tensor> {
        match self {
            Self::Nchw => y.permute((0, 3, 1, 2))?.contiguous(),
            Self::Nhwc => Ok(y),
        }
    }

    /// The channel axis.
    pub(crate) fn channel_axis(self) -> usize {
        match self {
            Self::Nchw => 1,
            Self::Nhwc => 3,
        }
    }
}

/// What follows a product: `y = residual + scale ⊙ act(product + bias)`.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Applied to the product and its bias.
    pub activation: Activation,
    /// One factor per output channel, `[O]` (layer scale).
    pub scale: Option<&'a Tensor>,
    /// Added last; the shape of the output.
    pub residual: Option<&'a Tensor>,
}

impl<'a> Epilogue<'a> {
    /// Nothing follows.
    pub const NONE: Self = Self { activation: Activation::None, scale: None, residual: None };

    /// Only an activation follows.
    pub fn act(activation: Activation) -> Self {
        Self { activation, ..Self::NONE }
    }

    /// Adds `residual` (the shape of the output) at the end.
    pub fn with_residual(self, residual: &'a Tensor) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// Multiplies by `scale` (`[O]`) after the activation.
    pub fn with_scale(self, scale: &'a Tensor) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// The same with tensors as f32, for 16-bit ones on the CPU: `f` gets it.
    pub(crate) fn widened(self, f: impl FnOnce(Epilogue<'_>) -> Result<Tensor>) -> Result<Tensor> {
        let scale = crate::narrow::wide_option(self.scale)?;
        let residual = crate::narrow::wide_option(self.residual)?;
        f(Epilogue { activation: self.activation, scale: scale.as_ref(), residual: residual.as_ref() })
    }

    /// The tensors must fit an output of shape `dims` with `channels` channels.
    pub(crate) fn check(&self, op: &'static str, channels: usize, dims: &[usize], x: &Tensor) -> Result<()> {
        if let Some(scale) = self.scale {
            crate::error::check_vector(op, "scale", scale, channels, x)?;
        }
        if let Some(residual) = self.residual {
            check_like(op, "residual", residual, x)?;
            if residual.dims() != dims {
                return shape_error(op, "residual", residual, format!("the output's, {dims:?}"));
            }
        }
        Ok(())
    }
}
