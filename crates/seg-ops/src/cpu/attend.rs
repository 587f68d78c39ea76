//! A transformer block's first half as one step of a training.

use super::product::{column_sums, gradients, value};
use super::window_tiled::Arguments;
use super::{Detached, Wanted, attach_many, flash, norm};
use crate::error::Result;
use crate::{Attend, Epilogue, WindowAttention};
use candle_core::Tensor;
use std::sync::Mutex;

/// Whether the tiles serve.
pub(crate) fn serves(x: &Tensor, a: &Attend<'_>) -> bool {
    a.attention.query_pool == 1 && flash::serves(x, &[x.dims()])
}

/// A map and what pads its windows.
fn arguments<'a>(map: &'a Tensor, pad: &'a Tensor, p: WindowAttention) -> Arguments<'a> {
    Arguments { qkv: map, pad: Some(pad), bias: None, tables: None, p }
}

/// See [`crate::attend`].
pub(crate) fn attend(x: &Tensor, a: &Attend<'_>) -> Result<Tensor> {
    let tracked = |t: Option<&Tensor>| t.is_some_and(Tensor::track_op);
    // who waits for what comes back: through the norm, then the products' weights and biases
    let of_norm = x.track_op() || a.norm.0.track_op() || tracked(a.norm.1);
    let of_qkv = (a.qkv.0.track_op(), a.qkv.1.track_op());
    let of_proj = (a.proj.0.track_op(), tracked(a.proj.1));
    let mut of = vec![x, a.norm.0, a.qkv.0, a.qkv.1, a.proj.0];
    let there = [a.norm.1, a.proj.1];
    of.extend(there.iter().flatten());
    let there = there.map(|t| t.is_some());

    let (input, eps, p) = (x.detach().contiguous()?, a.eps, *a.attention);
    let (scales, proj) = (Detached::of(a.norm)?, Detached::of(a.proj)?);
    let (qkv, row) = (a.qkv.0.detach().contiguous()?, a.qkv.1.detach().contiguous()?);
    let normed = crate::layer_norm(&input, &scales.0, scales.1.as_ref(), eps)?;
    let map = crate::linear(&normed, &qkv, Some(&row), Epilogue::NONE)?;
    drop(normed);
    crate::window::check("attend", &map, &p, Some(&row))?;
    let (attended, logs) = arguments(&map, &row, p).forward(true)?;
    let attended = attended.tensor()?;
    let kept = Mutex::new(a.keep.then_some(map));
    let value = value(&attended, &proj.0, proj.1.as_ref(), Epilogue::NONE.with_residual(&input))?;
    let proj = proj.0;
    attach_many("attend", value, &of, move |_, g| {
        let wanted = Wanted { x: of_norm || of_qkv.0 || of_qkv.1, weight: of_proj.0 };
        let (dattended, dproj) = gradients(&attended, &proj, g, wanted)?;
        let dproj_bias = of_proj.1.then(|| column_sums(g)).transpose()?;
        let [mut dx, mut dscale, mut dshift, mut dqkv, mut drow] = [const { None }; 5];
        if let Some(dattended) = dattended {
            let (normed, statistics) = norm::with_statistics(&input, &scales.0, scales.1.as_ref(), eps)?;
            // let go as soon as it has been read
            let map = kept.lock().ok().and_then(|mut kept| kept.take());
            let map = map.map_or_else(|| crate::linear(&normed, &qkv, Some(&row), Epilogue::NONE), Ok)?;
            let all = arguments(&map, &row, p).backward(false, &attended, &logs, &dattended)?;
            drop((map, dattended));
            let wanted = Wanted { x: of_norm, weight: of_qkv.0 };
            let (dnormed, dweight) = gradients(&normed, &qkv, &all.qkv, wanted)?;
            dqkv = dweight;
            drow = of_qkv.1.then(|| column_sums(&all.qkv)? + all.pad).transpose()?;
            drop((normed, all.qkv));
            if let Some(dnormed) = dnormed {
                let [through, scale, shift] = norm::gradients(&input, &scales.0, &dnormed, &statistics)?;
                drop(dnormed);
                (dx, dscale, dshift) = (Some((g + through)?), Some(scale), Some(shift));
            }
        }
        let mut found = vec![Some(dx.unwrap_or_else(|| g.clone())), dscale, dqkv, drow, dproj];
        let optional = [dshift, dproj_bias];
        found.extend(optional.into_iter().zip(there).filter(|(_, there)| *there).map(|(gradient, _)| gradient));
        Ok(found)
    })
}
