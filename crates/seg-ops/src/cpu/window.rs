//! Attention inside windows, straight out of the fused query-key-value map: no partitioned copies.

use super::window_tiled::Arguments;
use super::{attach_many, attach1, attach2, attach3, dispatch, flash, window_plain};
use crate::error::Result;
use crate::{RelativePositions, WindowAttention};
use candle_core::Tensor;

/// See [`crate::window_attention`]; `None` where the bias asks for a gradient and the tiles do not serve.
pub(crate) fn window_attention(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    const NAME: &str = "window_attention";
    let p = *p;
    let (_, h, w, _) = qkv.dims4()?;
    let trained = bias.filter(|bias| bias.track_op());
    let tiled = flash::serves(qkv, &[qkv.dims(), &[h / p.query_pool, w / p.query_pool]]);
    if trained.is_some() && !tiled {
        return Ok(None);
    }
    let qkv = &qkv.contiguous()?;
    let pad = pad.map(Tensor::contiguous).transpose()?;
    let bias = bias.map(|b| b.detach().contiguous()).transpose()?;
    if !tiled {
        let value = dispatch!(qkv, window_plain::forward(qkv, &p, pad.as_ref(), bias.as_ref()))?;
        return match &pad {
            Some(pad) => attach2(NAME, value, qkv, pad, move |qkv, pad, _, g| {
                let (dx, dpad) = dispatch!(qkv, window_plain::backward(qkv, &p, Some(pad), bias.as_ref(), g))?;
                Ok((Some(dx), Some(dpad)))
            }),
            None => attach1(NAME, value, qkv, move |qkv, _, g| {
                dispatch!(qkv, window_plain::backward(qkv, &p, None, bias.as_ref(), g)).map(|(dx, _)| Some(dx))
            }),
        }
        .map(Some);
    }
    let arguments = Arguments { qkv, pad: pad.as_ref(), bias: bias.as_ref(), tables: None, p };
    let (value, logs) = arguments.forward(super::tracked(&[Some(qkv), pad.as_ref(), trained]))?;
    match (&pad, trained) {
        (None, None) => attach1(NAME, value, qkv, move |qkv, y, g| {
            let arguments = Arguments { qkv, pad: None, bias: bias.as_ref(), tables: None, p };
            Ok(Some(arguments.backward(false, y, &logs, g)?.qkv))
        }),
        (Some(pad), None) => attach2(NAME, value, qkv, pad, move |qkv, pad, y, g| {
            let arguments = Arguments { qkv, pad: Some(pad), bias: bias.as_ref(), tables: None, p };
            let all = arguments.backward(false, y, &logs, g)?;
            Ok((Some(all.qkv), Some(all.pad)))
        }),
        (None, Some(trained)) => attach2(NAME, value, qkv, trained, move |qkv, _, y, g| {
            let arguments = Arguments { qkv, pad: None, bias: bias.as_ref(), tables: None, p };
            let all = arguments.backward(true, y, &logs, g)?;
            Ok((Some(all.qkv), all.bias))
        }),
        (Some(pad), Some(trained)) => attach3(NAME, value, (qkv, pad, trained), move |qkv, pad, _, y, g| {
            let arguments = Arguments { qkv, pad: Some(pad), bias: bias.as_ref(), tables: None, p };
            let all = arguments.backward(true, y, &logs, g)?;
            Ok((Some(all.qkv), Some(all.pad), all.bias))
        }),
    }
    .map(Some)
}

/// See [`crate::window_attention_with_rel_pos`]; `None` where the tiles do not serve.
pub(crate) fn with_rel_pos(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    relative: RelativePositions<'_>,
) -> Result<Option<Tensor>> {
    const NAME: &str = "window_attention_with_rel_pos";
    if !flash::serves(qkv, &[qkv.dims()]) {
        return Ok(None);
    }
    let p = *p;
    let qkv = &qkv.contiguous()?;
    let pad = pad.map(Tensor::contiguous).transpose()?;
    let (height, width) = (&relative.height.contiguous()?, &relative.width.contiguous()?);
    let arguments = Arguments { qkv, pad: pad.as_ref(), bias: None, tables: Some((height, width)), p };
    let (value, logs) = arguments.forward(super::tracked(&[Some(qkv), pad.as_ref(), Some(height), Some(width)]))?;
    match &pad {
        None => attach3(NAME, value, (qkv, height, width), move |qkv, height, width, y, g| {
            let arguments = Arguments { qkv, pad: None, bias: None, tables: Some((height, width)), p };
            let all = arguments.backward(false, y, &logs, g)?;
            Ok((Some(all.qkv), all.height, all.width))
        }),
        Some(pad) => {
            let (q, row, down, across) = (qkv.detach(), pad.detach(), height.detach(), width.detach());
            attach_many(NAME, value, [Some(qkv), Some(pad), Some(height), Some(width)], move |_, y, g| {
                let tables = Some((&down, &across));
                let arguments = Arguments { qkv: &q, pad: Some(&row), bias: None, tables, p };
                let all = arguments.backward(false, y, &logs, g)?;
                Ok([Some(all.qkv), Some(all.pad), all.height, all.width])
            })
        }
    }
    .map(Some)
}
