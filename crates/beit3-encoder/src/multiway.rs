//! Two sets of weights for one sequence: vision tokens go through the one, text tokens through the other.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

/// The sequence in its two parts, either of which may be absent: `[B, 1 + P, C]` of an image, `[B, L, C]` of a text.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) vision: Option<Tensor>,
    pub(crate) text: Option<Tensor>,
}

impl Streams {
    /// The whole sequence, vision first: `[B, N, C]`.
    pub(crate) fn joined(&self) -> Result<Tensor> {
        match (&self.vision, &self.text) {
            (Some(vision), Some(text)) => Tensor::cat(&[vision, text], 1),
            (Some(all), None) | (None, Some(all)) => Ok(all.clone()),
            (None, None) => candle_core::bail!("BEiT-3: neither images nor text, expected one of them"),
        }
    }

    /// Tokens of each part.
    fn lengths(&self) -> Result<(usize, usize)> {
        let length = |part: &Option<Tensor>| part.as_ref().map_or(Ok(0), |part| part.dim(1));
        Ok((length(&self.vision)?, length(&self.text)?))
    }

    /// Tokens of the whole sequence.
    pub(crate) fn length(&self) -> Result<usize> {
        let (vision, text) = self.lengths()?;
        Ok(vision + text)
    }

    /// `sequence` `[B, N, C']` in parts of the same lengths.
    pub(crate) fn split(&self, sequence: &Tensor) -> Result<Self> {
        let (vision, text) = self.lengths()?;
        let part = |wanted: bool, from, length| -> Result<Option<Tensor>> {
            if wanted { Ok(Some(sequence.narrow(1, from, length)?)) } else { Ok(None) }
        };
        Ok(Self { vision: part(self.vision.is_some(), 0, vision)?, text: part(self.text.is_some(), vision, text)? })
    }
}

/// A layer in both sets of weights.
///
/// Keys: `A.*` for vision, `B.*` for text.
#[derive(Clone, Debug)]
pub(crate) struct Multiway<M> {
    vision: M,
    text: M,
}

impl<M> Multiway<M> {
    pub(crate) fn new(vb: VarBuilder, layer: impl Fn(VarBuilder) -> Result<M>) -> Result<Self> {
        Ok(Self { vision: layer(vb.pp("A"))?, text: layer(vb.pp("B"))? })
    }

    /// `f` of each part with the layer that serves it.
    pub(crate) fn map(&self, x: Streams, f: impl Fn(&M, Tensor) -> Result<Tensor>) -> Result<Streams> {
        let part = |layer: &M, x: Option<Tensor>| x.map(|x| f(layer, x)).transpose();
        Ok(Streams { vision: part(&self.vision, x.vision)?, text: part(&self.text, x.text)? })
    }

    /// `f` of each part, the same part of `residual`, and the layer that serves it.
    pub(crate) fn map_with(
        &self,
        x: Streams,
        residual: &Streams,
        f: impl Fn(&M, Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Streams> {
        let part = |layer: &M, x: Option<Tensor>, residual: &Option<Tensor>| {
            x.zip(residual.as_ref()).map(|(x, residual)| f(layer, x, residual)).transpose()
        };
        Ok(Streams {
            vision: part(&self.vision, x.vision, &residual.vision)?,
            text: part(&self.text, x.text, &residual.text)?,
        })
    }
}

impl<M: Module> Multiway<M> {
    pub(crate) fn forward(&self, x: &Streams) -> Result<Streams> {
        self.map(x.clone(), |layer, x| layer.forward(&x))
    }
}
