//! Multi-layer perceptron.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::{Activation, Epilogue, FeedForward};

use crate::{Dropout, LayerNorm, Linear, trace};

/// A chain of [`Linear`] layers with an activation between them, none after the last unless asked for.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
    output_activation: Activation,
    dropout: Dropout,
}

impl Mlp {
    /// `dims` are the widths from input to output; layer `i` is read below `names[i]`.
    pub fn with_names(dims: &[usize], names: &[&str], activation: Activation, vb: VarBuilder) -> Result<Self> {
        if dims.len() != names.len() + 1 || names.is_empty() {
            candle_core::bail!(
                "Mlp: {} widths for {} layers, expected one more width than layers",
                dims.len(),
                names.len()
            );
        }
        let layers = dims
            .windows(2)
            .zip(names)
            .map(|(pair, name)| Linear::new(pair[0], pair[1], vb.pp(name)))
            .collect::<Result<_>>()?;
        Ok(Self { layers, activation, output_activation: Activation::None, dropout: Dropout::OFF })
    }

    /// SAM's `MLP`: layers below `layers.0`, `layers.1`, …
    pub fn new(dims: &[usize], activation: Activation, vb: VarBuilder) -> Result<Self> {
        let names: Vec<String> = (1..dims.len()).map(|i| format!("layers.{}", i - 1)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Self::with_names(dims, &names, activation, vb)
    }

    /// Puts `activation` behind the last layer (SAM 2's IoU head ends in a sigmoid).
    pub fn with_output_activation(mut self, activation: Activation) -> Self {
        self.output_activation = activation;
        self
    }

    /// Leaves out numbers between the layers, behind the activation: for training.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.dropout = dropout.clone();
    }

    /// The chain with `residual` added to its output in the same pass. Takes `x`, so that it is freed behind the first layer.
    pub fn forward_residual(&self, x: Tensor, residual: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::NONE.with_residual(residual))
    }

    /// The chain followed by scale and residual of `epilogue` in the same pass; its activation is the chain's own. Takes `x`, so that it is freed
    /// behind the first layer.
    pub fn forward_with(&self, x: Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        self.run(x, Epilogue { activation: self.output_activation, ..epilogue })
    }

    /// `x` plus the chain of `norm`'s output. In training two layers with a GELU are one operation ([`seg_ops::feed_forward`]), and only with `keep` the hidden
    /// numbers stay for the backward pass.
    pub fn forward_normed(&self, norm: &LayerNorm, x: Tensor, keep: bool) -> Result<Tensor> {
        if let [up, down] = self.layers.as_slice()
            && (self.activation, self.output_activation) == (Activation::Gelu, Activation::None)
            && !self.dropout.is_on()
            && (x.track_op() || up.weight().track_op() || down.weight().track_op() || norm.weight().track_op())
        {
            let _span = trace::sized_layer(|| {
                let hidden = up.weight().dims().first().copied().unwrap_or(0);
                (format!("feed_forward {hidden}"), 2 * trace::product_flops(x.elem_count(), hidden, 1))
            });
            let parts = FeedForward {
                norm: (norm.weight(), Some(norm.bias())),
                eps: norm.eps(),
                up: (up.weight(), up.bias()),
                down: (down.weight(), down.bias()),
                keep,
            };
            return seg_ops::feed_forward(&x, &parts);
        }
        self.forward_residual(norm.forward(&x)?, &x)
    }

    fn run(&self, mut x: Tensor, last: Epilogue<'_>) -> Result<Tensor> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = match i + 1 == self.layers.len() {
                true => layer.forward_with(&x, last)?,
                false => self.dropout.forward(layer.forward_with(&x, Epilogue::act(self.activation))?)?,
            };
        }
        Ok(x)
    }
}

impl Module for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x.clone(), Epilogue::act(self.output_activation))
    }
}
