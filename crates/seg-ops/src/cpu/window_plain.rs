//! Window attention by blocks of queries whose scores are in memory: for f64, and where the tiles are not made for the processor.

use super::attention::{Block, block_rows};
use super::matrix::{Mat, Shared};
use super::product::add_up;
use super::window_map::{Part, Site, Windows};
use super::{Data, Value};
use crate::WindowAttention;
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// The windows' additive bias, `[heads, N, M]`.
fn bias_rows<T>(bias: Option<&[T]>, head: usize, (n, m): (usize, usize), from: usize, count: usize) -> Option<&[T]> {
    bias.map(|b| &b[(head * n + from) * m..(head * n + from + count) * m])
}

#[derive(Default)]
struct Scratch<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    y: Vec<T>,
    p: Vec<T>,
}

pub(super) fn forward<T: Float>(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Value> {
    let dims = qkv.dims4()?;
    let data = Data::<T>::contiguous(qkv)?;
    let pad = pad.map(Data::<T>::contiguous).transpose()?;
    let bias = bias.map(Data::<T>::contiguous).transpose()?;
    let windows = Windows::new(&data, pad.as_deref().unwrap_or(&[]), dims, p);
    let shape = (dims.0, windows.out.0, windows.out.1, windows.channels);
    let mut y = vec![T::ZERO; shape.0 * shape.1 * shape.2 * shape.3];
    if y.is_empty() {
        return Ok(Value::new(y, shape));
    }
    let (n, m, d) = (windows.queries(), windows.keys(), windows.d);
    let rows = block_rows(n, m);
    let blocks = n.div_ceil(rows);
    let sites = dims.0 * windows.count.0 * windows.count.1 * p.heads;
    let shared = Shared::new(&mut y);
    (0..sites * blocks).into_par_iter().for_each_init(Scratch::default, |s, task| {
        let (site, from) = (windows.site(task / blocks), task % blocks * rows);
        let count = rows.min(n - from);
        let block = Block {
            n: count,
            m,
            d,
            dv: d,
            scale: T::of(p.scale),
            q: windows.gather_queries(site, from, count, &mut s.q),
            k: windows.gather(site, Part::Key, &mut s.k),
            v: windows.gather(site, Part::Value, &mut s.v),
            bias: bias_rows(bias.as_deref(), site.head, (n, m), from, count),
        };
        s.y.resize(count * d, T::ZERO);
        block.forward(&mut s.p, &mut s.y[..count * d]);
        for (i, row) in s.y.chunks_exact(d).take(count).enumerate() {
            if let Some(at) = windows.output(site, from + i) {
                #[allow(unsafe_code)]
                // SAFETY: this pixel's channels of this head belong to this query alone.
                unsafe { shared.part(at, d) }.copy_from_slice(row);
            }
        }
    });
    Ok(Value::new(y, shape))
}

pub(super) fn backward<T: Float>(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
    g: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let dims = qkv.dims4()?;
    let (data, g) = (Data::<T>::contiguous(qkv)?, Data::<T>::contiguous(g)?);
    let pad = pad.map(Data::<T>::contiguous).transpose()?;
    let bias = bias.map(Data::<T>::contiguous).transpose()?;
    let windows = Windows::new(&data, pad.as_deref().unwrap_or(&[]), dims, p);
    let mut dqkv = vec![T::ZERO; data.len()];
    let mut dpad = vec![T::ZERO; dims.3];
    if !g.is_empty() {
        let sites = dims.0 * windows.count.0 * windows.count.1 * p.heads;
        let shared = Shared::new(&mut dqkv);
        // the windows of one row at a time: few partial sums, and the same ones whatever the number of threads
        let chunk = windows.count.1 * p.heads;
        let parts: Vec<Vec<T>> = (0..sites.div_ceil(chunk))
            .into_par_iter()
            .map(|row| {
                let mut dpad = vec![T::ZERO; dims.3];
                for site in row * chunk..(row + 1) * chunk {
                    site_backward(&windows, windows.site(site), p, bias.as_deref(), &g, shared, &mut dpad);
                }
                dpad
            })
            .collect();
        dpad = add_up(parts, dims.3);
    }
    Ok((Value::new(dqkv, dims).tensor()?, Value::new(dpad, dims.3).tensor()?))
}

fn site_backward<T: Float>(
    windows: &Windows<'_, T>,
    site: Site,
    p: &WindowAttention,
    bias: Option<&[T]>,
    g: &[T],
    dqkv: Shared<'_, T>,
    dpad: &mut [T],
) {
    let (n, m, d) = (windows.queries(), windows.keys(), windows.d);
    let mut s = Scratch::default();
    let (k, v) = (windows.gather(site, Part::Key, &mut s.k), windows.gather(site, Part::Value, &mut s.v));
    let (mut dq, mut dk, mut dv) = (vec![T::ZERO; n * d], vec![T::ZERO; m * d], vec![T::ZERO; m * d]);
    let rows = block_rows(n, 2 * m);
    for from in (0..n).step_by(rows) {
        let count = rows.min(n - from);
        let q = windows.gather_queries(site, from, count, &mut s.q);
        let bias = bias_rows(bias, site.head, (n, m), from, count);
        let block = Block { n: count, m, d, dv: d, scale: T::of(p.scale), q, k, v, bias };
        s.y.clear();
        for query in from..from + count {
            match windows.output(site, query) {
                Some(at) => s.y.extend_from_slice(&g[at..at + d]),
                None => s.y.resize(s.y.len() + d, T::ZERO),
            }
        }
        block.backward(&mut s.p, Mat::new(&s.y, d), &mut dq[from * d..][..count * d], &mut dk, &mut dv);
    }
    windows.scatter(site, [&dq, &dk, &dv], dqkv, dpad);
}
