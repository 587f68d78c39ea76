//! A transformer block's first half as one step of a training.

use super::product::{column_sums, gradients, value};
use super::window_tiled::Arguments;
use super::{Detached, ForOnePass, Wanted, attach_many, flash, norm};
use crate::error::Result;
use crate::{Attend, Epilogue, WindowAttention};
use candle_core::Tensor;

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
    let (input, eps, p) = (x.detach().contiguous()?, a.eps, *a.attention);
    let (scales, proj) = (Detached::of(a.norm)?, Detached::of(a.proj)?);
    let (qkv, row) = (a.qkv.0.detach().contiguous()?, a.qkv.1.detach().contiguous()?);
    let normed = crate::layer_norm(&input, &scales.0, scales.1.as_ref(), eps)?;
    let map = crate::linear(&normed, &qkv, Some(&row), Epilogue::NONE)?;
    drop(normed);
    crate::window::check("attend", &map, &p, Some(&row))?;
    let (attended, logs) = arguments(&map, &row, p).forward(true)?;
    let attended = attended.tensor()?;
    let kept = ForOnePass::new(a.keep.then_some(map));
    let value = value(&attended, &proj.0, proj.1.as_ref(), Epilogue::NONE.with_residual(&input))?;
    let proj = proj.0;
    let of = [Some(x), Some(a.norm.0), Some(a.qkv.0), Some(a.qkv.1), Some(a.proj.0), a.norm.1, a.proj.1];
    attach_many("attend", value, of, move |tracked, _, g| {
        let [of_x, of_scale, of_qkv, of_row, of_proj, of_shift, of_proj_bias] = tracked;
        let of_norm = of_x || of_scale || of_shift;
        let wanted = Wanted { x: of_norm || of_qkv || of_row, weight: of_proj };
        let (dattended, dproj) = gradients(&attended, &proj, g, wanted)?;
        let dproj_bias = of_proj_bias.then(|| column_sums(g)).transpose()?;
        let [mut dx, mut dscale, mut dshift, mut dqkv, mut drow] = [const { None }; 5];
        if let Some(dattended) = dattended {
            let (normed, statistics) = norm::with_statistics(&input, &scales.0, scales.1.as_ref(), eps)?;
            let map = kept.take_or(|| crate::linear(&normed, &qkv, Some(&row), Epilogue::NONE))?;
            let all = arguments(&map, &row, p).backward(false, &attended, &logs, &dattended)?;
            drop((map, dattended));
            let wanted = Wanted { x: of_norm, weight: of_qkv };
            let (dnormed, dweight) = gradients(&normed, &qkv, &all.qkv, wanted)?;
            dqkv = dweight;
            drow = of_row.then(|| column_sums(&all.qkv)? + all.pad).transpose()?;
            drop((normed, all.qkv));
            if let Some(dnormed) = dnormed {
                let [through, scale, shift] = norm::gradients(&input, &scales.0, &dnormed, &statistics)?;
                drop(dnormed);
                (dx, dscale, dshift) = (Some((g + through)?), Some(scale), Some(shift));
            }
        }
        Ok([Some(dx.unwrap_or_else(|| g.clone())), dscale, dqkv, drow, dproj, dshift, dproj_bias])
    })
}
