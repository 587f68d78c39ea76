//! Object pointers with their places in time.

use candle_core::{Result, Tensor};

use crate::bank::Selection;
use crate::position::sine_position_1d;

/// The pointers that a frame looks at, and where they lie in time.
#[derive(Clone, Debug)]
pub struct PointerHistory {
    /// `[B, P, C]`.
    pub pointers: Tensor,
    /// `[1, P, C]`.
    pub positions: Tensor,
}

impl Selection<'_> {
    /// All pointers, of the type and on the device of `like`, `[B, P, C]`.
    ///
    /// # Errors
    /// Besides candle's, a selection without pointers.
    pub fn stacked_pointers(&self, like: &Tensor) -> Result<Tensor> {
        if self.pointers.is_empty() {
            candle_core::bail!("memory: no object pointers, expected at least one");
        }
        let pointers = self.pointers.iter().map(|p| p.obj_ptr.to_device(like.device())?.unsqueeze(1));
        Tensor::cat(&pointers.collect::<Result<Vec<_>>>()?, 1)?.to_dtype(like.dtype())
    }

    /// The pointers' distances in frames, negative for those to come if `signed`, as sine encodings of `channels`; the span counts as 1.
    /// `[P, C]`, like `like` in type and device.
    pub fn pointer_positions(&self, channels: usize, signed: bool, like: &Tensor) -> Result<Tensor> {
        let distance = |d: i64| if signed { d } else { d.abs() } as f64;
        // a video of one frame has no distances
        let span = self.pointer_span.max(1) as f64;
        let positions: Vec<f64> = self.pointers.iter().map(|p| distance(p.distance) / span).collect();
        sine_position_1d(&positions, channels, like.device())?.to_dtype(like.dtype())
    }

    /// What MPG-SAM 2's decoder looks at (the historical half of its hierarchical global-historical aggregation; `_inter_obj` in
    /// models/sam2/modeling/sam2_base.py of MPG-SAM2).
    ///
    /// # Errors
    /// As [`Self::stacked_pointers`].
    pub fn pointer_history(&self, like: &Tensor) -> Result<PointerHistory> {
        let pointers = self.stacked_pointers(like)?;
        let positions = self.pointer_positions(pointers.dim(2)?, false, like)?.unsqueeze(0)?;
        Ok(PointerHistory { pointers, positions })
    }
}
