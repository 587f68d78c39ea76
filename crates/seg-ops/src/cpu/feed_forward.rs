//! A transformer block's second half as one step of a training.

use super::product::{column_sums, gradients, value};
use super::{Detached, Wanted, attach_many, norm, pointwise};
use crate::error::Result;
use crate::{Activation, Epilogue, FeedForward};
use candle_core::Tensor;
use std::sync::Mutex;

/// See [`crate::feed_forward`].
pub(crate) fn feed_forward(x: &Tensor, f: &FeedForward<'_>) -> Result<Tensor> {
    const GELU: Activation = Activation::Gelu;
    let tracked = |t: Option<&Tensor>| t.is_some_and(Tensor::track_op);
    // who waits for what comes back: through the norm, then the products' weights and biases
    let of_norm = x.track_op() || f.norm.0.track_op() || tracked(f.norm.1);
    let of_up = (f.up.0.track_op(), tracked(f.up.1));
    let of_down = (f.down.0.track_op(), tracked(f.down.1));
    let mut of = vec![x, f.norm.0, f.up.0, f.down.0];
    let there = [f.norm.1, f.up.1, f.down.1];
    of.extend(there.iter().flatten());
    let there = there.map(|t| t.is_some());

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
    let (kept, down) = (Mutex::new(kept), down.0);
    attach_many("feed_forward", value, &of, move |_, g| {
        let (normed, statistics) = norm::with_statistics(&input, &scales.0, scales.1.as_ref(), eps)?;
        // let go as soon as it has been read
        let kept = kept.lock().ok().and_then(|mut kept| kept.take());
        let hidden = kept.map_or_else(|| rise(&normed, &up, Epilogue::NONE), Ok)?;
        let active = of_down.0.then(|| pointwise::activate(&hidden, GELU)).transpose()?;
        let wanted = Wanted { x: of_norm || of_up.0 || of_up.1, weight: of_down.0 };
        // of the input only the shape is looked at where the weight wants nothing
        let (dactive, ddown) = gradients(active.as_ref().unwrap_or(&hidden), &down, g, wanted)?;
        drop(active);
        let [mut dx, mut dscale, mut dshift, mut dup, mut dup_bias] = [const { None }; 5];
        if let Some(dactive) = dactive {
            let dhidden = pointwise::gradient(&hidden, &dactive, GELU)?;
            drop((hidden, dactive));
            let wanted = Wanted { x: of_norm, weight: of_up.0 };
            let (dnormed, dweight) = gradients(&normed, &up.0, &dhidden, wanted)?;
            (dup, dup_bias) = (dweight, of_up.1.then(|| column_sums(&dhidden)).transpose()?);
            drop((dhidden, normed));
            if let Some(dnormed) = dnormed {
                let [through, scale, shift] = norm::gradients(&input, &scales.0, &dnormed, &statistics)?;
                drop(dnormed);
                (dx, dscale, dshift) = (Some((g + through)?), Some(scale), Some(shift));
            }
        }
        let mut found = vec![Some(dx.unwrap_or_else(|| g.clone())), dscale, dup, ddown];
        let optional = [dshift, dup_bias, of_down.1.then(|| column_sums(g)).transpose()?];
        found.extend(optional.into_iter().zip(there).filter(|(_, there)| *there).map(|(gradient, _)| gradient));
        Ok(found)
    })
}
