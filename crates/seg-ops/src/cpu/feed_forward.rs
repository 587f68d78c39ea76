//! A transformer block's second half as one step of a training.

use super::product::{column_sums, gradients, value};
use super::{Detached, ForOnePass, Wanted, attach_many, norm, pointwise};
use crate::error::Result;
use crate::{Activation, Epilogue, FeedForward};
use candle_core::Tensor;

/// See [`crate::feed_forward`].
pub(crate) fn feed_forward(x: &Tensor, f: &FeedForward<'_>) -> Result<Tensor> {
    const GELU: Activation = Activation::Gelu;
    let (input, eps) = (x.detach().contiguous()?, f.eps);
    let (scales, up, down) = (Detached::of(f.norm)?, Detached::of(f.up)?, Detached::of(f.down)?);
    let rise = move |normed: &Tensor, up: &Detached, e| crate::linear(normed, &up.0, up.1.as_ref(), e);
    let normed = crate::layer_norm(&input, &scales.0, scales.1.as_ref(), eps)?;
    let (kept, active) = if f.keep {
        let hidden = rise(&normed, &up, Epilogue::NONE)?;
        let active = pointwise::activate(&hidden, GELU)?;
        (Some(hidden), active)
    } else {
        (None, rise(&normed, &up, Epilogue::act(GELU))?)
    };
    drop(normed);
    let value = value(&active, &down.0, down.1.as_ref(), Epilogue::NONE.with_residual(&input))?;
    drop(active);
    let (kept, down) = (ForOnePass::new(kept), down.0);
    let of = [Some(x), Some(f.norm.0), Some(f.up.0), Some(f.down.0), f.norm.1, f.up.1, f.down.1];
    attach_many("feed_forward", value, of, move |tracked, _, g| {
        let [of_x, of_scale, of_up, of_down, of_shift, of_up_bias, of_down_bias] = tracked;
        let of_norm = of_x || of_scale || of_shift;
        let (normed, statistics) = norm::with_statistics(&input, &scales.0, scales.1.as_ref(), eps)?;
        let hidden = kept.take_or(|| rise(&normed, &up, Epilogue::NONE))?;
        let active = of_down.then(|| pointwise::activate(&hidden, GELU)).transpose()?;
        let wanted = Wanted { x: of_norm || of_up || of_up_bias, weight: of_down };
        // of the input only the shape is looked at where the weight wants nothing
        let (dactive, ddown) = gradients(active.as_ref().unwrap_or(&hidden), &down, g, wanted)?;
        drop(active);
        let [mut dx, mut dscale, mut dshift, mut dup, mut dup_bias] = [const { None }; 5];
        if let Some(dactive) = dactive {
            let dhidden = pointwise::gradient(&hidden, &dactive, GELU)?;
            drop((hidden, dactive));
            let wanted = Wanted { x: of_norm, weight: of_up };
            let (dnormed, dweight) = gradients(&normed, &up.0, &dhidden, wanted)?;
            (dup, dup_bias) = (dweight, of_up_bias.then(|| column_sums(&dhidden)).transpose()?);
            drop((dhidden, normed));
            if let Some(dnormed) = dnormed {
                let [through, scale, shift] = norm::gradients(&input, &scales.0, &dnormed, &statistics)?;
                drop(dnormed);
                (dx, dscale, dshift) = (Some((g + through)?), Some(scale), Some(shift));
            }
        }
        let ddown_bias = of_down_bias.then(|| column_sums(g)).transpose()?;
        Ok([Some(dx.unwrap_or_else(|| g.clone())), dscale, dup, ddown, dshift, dup_bias, ddown_bias])
    })
}
