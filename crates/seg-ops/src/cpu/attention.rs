//! Attention by blocks of queries: the scores of one block are all that is ever in memory.

use super::matrix::{Keep, Mat, Shared, product};
use super::panels::copy;
use super::softmax::{dot, exponentials_of_rows};
use super::{Data, Value, attach_many, attach3, dispatch, flash, flash_backward, simd, tracked, written};
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Scores a block holds at most, unless a single short block of queries has more.
const SCORES: usize = 1 << 18;

/// Queries in a block when each has `m` scores.
pub(super) fn block_rows(n: usize, m: usize) -> usize {
    (SCORES / m.max(1)).clamp(32, 512).min(n.max(1))
}

/// One block of queries against all keys of a head.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, T> {
    /// Queries, keys, size of a head, size of a value.
    pub n: usize,
    pub m: usize,
    pub d: usize,
    pub dv: usize,
    pub scale: T,
    pub q: Mat<'a, T>,
    pub k: Mat<'a, T>,
    pub v: Mat<'a, T>,
    /// `n` rows of `m`.
    pub bias: Option<&'a [T]>,
}

impl<T: Float> Block<'_, T> {
    /// `exp(scores - maximum)` into `p`, the sums of its rows into `sums`.
    fn probabilities(&self, p: &mut [T], sums: &mut [T]) {
        let (n, m) = (self.n, self.m);
        product((n, m, self.d), p, m, Keep::Nothing, self.scale, self.q, self.k.t());
        simd(
            #[inline(always)]
            || {
                if let Some(bias) = self.bias {
                    for (s, &b) in p.iter_mut().zip(bias) {
                        *s += b;
                    }
                }
                exponentials_of_rows(p, m, sums);
            },
        );
    }

    /// The block's outputs, `n` rows of `dv`; `p` is scratch.
    pub fn forward(&self, p: &mut Vec<T>, y: &mut [T]) {
        let (n, m, dv) = (self.n, self.m, self.dv);
        p.resize(n * m + n, T::ZERO);
        let (p, sums) = p.split_at_mut(n * m);
        self.probabilities(p, sums);
        product((n, dv, m), y, dv, Keep::Nothing, T::ONE, Mat::new(p, m), self.v);
        simd(
            #[inline(always)]
            || {
                for (y, &sum) in y.chunks_exact_mut(dv.max(1)).zip(sums.iter()) {
                    let inverse = T::ONE / sum;
                    for y in y {
                        *y *= inverse;
                    }
                }
            },
        );
    }

    /// Gradients from `g` (`n` rows of `dv`): those of the queries are written, those of keys and values added; `p` is scratch.
    pub fn backward(&self, p: &mut Vec<T>, g: Mat<'_, T>, dq: &mut [T], dk: &mut [T], dv: &mut [T]) {
        let (n, m, d) = (self.n, self.m, self.d);
        p.resize(2 * n * m + n, T::ZERO);
        let (p, rest) = p.split_at_mut(n * m);
        let (ds, sums) = rest.split_at_mut(n * m);
        self.probabilities(p, sums);
        simd(
            #[inline(always)]
            || {
                for (p, &sum) in p.chunks_exact_mut(m).zip(sums.iter()) {
                    let inverse = T::ONE / sum;
                    for p in p {
                        *p *= inverse;
                    }
                }
            },
        );
        product((m, self.dv, n), dv, self.dv, Keep::Sum, T::ONE, Mat::new(p, m).t(), g);
        product((n, m, self.dv), ds, m, Keep::Nothing, T::ONE, g, self.v.t());
        simd(
            #[inline(always)]
            || {
                for (ds, p) in ds.chunks_exact_mut(m).zip(p.chunks_exact(m)) {
                    let mean = dot(ds, p);
                    for (s, &p) in ds.iter_mut().zip(p) {
                        *s = p * (*s - mean);
                    }
                }
            },
        );
        product((n, d, m), dq, d, Keep::Nothing, self.scale, Mat::new(ds, m), self.k);
        product((m, d, n), dk, d, Keep::Sum, self.scale, Mat::new(ds, m).t(), self.q);
    }
}

/// `[B, h, N, d]` with contiguous rows, whatever the other strides.
struct Heads<'a, T> {
    data: Data<'a, T>,
    batch: usize,
    head: usize,
    row: usize,
}

/// `t` itself if its rows are contiguous, else a copy.
fn rows_contiguous(t: &Tensor) -> Result<Tensor> {
    if t.stride().last() == Some(&1) { Ok(t.clone()) } else { t.contiguous() }
}

impl<'a, T: Float> Heads<'a, T> {
    fn new(t: &'a Tensor) -> Result<Self> {
        let s = t.stride();
        Ok(Self { data: Data::strided(t)?, batch: s[0], head: s[1], row: s[2] })
    }

    /// Row `i` of a head, and what follows it.
    fn row(&self, b: usize, h: usize, i: usize) -> &[T] {
        &self.data[b * self.batch + h * self.head + i * self.row..]
    }

    fn mat(&self, b: usize, h: usize) -> Mat<'_, T> {
        Mat::new(&self.data[b * self.batch + h * self.head..], self.row)
    }
}

/// An additive bias `[1 or B, 1 or h, N, M]`.
struct Bias<'a, T> {
    data: Data<'a, T>,
    batch: usize,
    head: usize,
    n: usize,
    m: usize,
}

impl<'a, T: Float> Bias<'a, T> {
    fn new(t: &'a Tensor) -> Result<Self> {
        let (b, h, n, m) = t.dims4()?;
        let batch = if b == 1 { 0 } else { h * n * m };
        Ok(Self { data: Data::contiguous(t)?, batch, head: if h == 1 { 0 } else { n * m }, n, m })
    }

    /// Which of the matrices n × m is that of a head.
    fn holder(&self, b: usize, h: usize) -> usize {
        (b * self.batch + h * self.head) / (self.n * self.m)
    }

    fn rows(&self, b: usize, h: usize, from: usize, n: usize) -> &[T] {
        let start = b * self.batch + h * self.head + from * self.m;
        &self.data[start..start + n * self.m]
    }
}

/// See [`crate::attention`]; `None` where the bias asks for a gradient and the tiles do not serve.
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f64,
    bias: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    let trained = bias.filter(|bias| bias.track_op());
    let tiled = flash::serves(q, &[q.dims(), k.dims(), v.dims()]);
    if trained.is_some() && !tiled {
        return Ok(None);
    }
    let (q, k, v) = (&rows_contiguous(q)?, &rows_contiguous(k)?, &rows_contiguous(v)?);
    let bias = bias.map(|b| b.detach().contiguous()).transpose()?;
    if !tiled {
        let value = dispatch!(q, self::forward(q, k, v, scale, bias.as_ref()))?;
        return attach3("attention", value, (q, k, v), move |q, k, v, _, g| {
            let (dq, dk, dv) = dispatch!(q, self::backward(q, k, v, scale, bias.as_ref(), g))?;
            Ok((Some(dq), Some(dk), Some(dv)))
        })
        .map(Some);
    }
    let log = tracked(&[Some(q), Some(k), Some(v), trained]);
    let (value, logs) = forward_tiled(q, k, v, scale, bias.as_ref(), log)?;
    let Some(trained) = trained else {
        return attach3("attention", value, (q, k, v), move |q, k, v, y, g| {
            let ([dq, dk, dv], _) = backward_tiled([q, k, v], scale, bias.as_ref(), false, y, &logs, g)?;
            Ok((Some(dq), Some(dk), Some(dv)))
        })
        .map(Some);
    };
    let inputs = [q.detach(), k.detach(), v.detach()];
    attach_many("attention", value, [Some(q), Some(k), Some(v), Some(trained)], move |_, y, g| {
        let ([dq, dk, dv], dbias) = backward_tiled(inputs.each_ref(), scale, bias.as_ref(), true, y, &logs, g)?;
        Ok([Some(dq), Some(dk), Some(dv), dbias])
    })
    .map(Some)
}

/// Rows of heads for the tiles.
struct Whole<'a> {
    h: usize,
    q: Heads<'a, f32>,
    k: Heads<'a, f32>,
    v: Heads<'a, f32>,
    bias: Option<Bias<'a, f32>>,
    n: usize,
    dv: usize,
}

impl flash::Rows for Whole<'_> {
    fn query(&self, group: usize, i: usize, to: &mut [f32]) {
        copy(to, self.q.row(group / self.h, group % self.h, i));
    }

    fn key(&self, group: usize, j: usize) -> &[f32] {
        self.k.row(group / self.h, group % self.h, j)
    }

    fn value(&self, group: usize, j: usize) -> &[f32] {
        self.v.row(group / self.h, group % self.h, j)
    }

    fn value_step(&self) -> Option<usize> {
        Some(self.v.row)
    }

    fn bias(&self, group: usize) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| bias.rows(group / self.h, group % self.h, 0, self.n))
    }

    fn holder(&self, group: usize) -> usize {
        self.bias.as_ref().map_or(0, |bias| bias.holder(group / self.h, group % self.h))
    }

    fn output(&self, group: usize, i: usize) -> Option<usize> {
        Some((group * self.n + i) * self.dv)
    }
}

impl<'a> Whole<'a> {
    fn new(
        q: &'a Tensor,
        k: &'a Tensor,
        v: &'a Tensor,
        scale: f64,
        bias: Option<&'a Tensor>,
    ) -> Result<(flash::Sizes, Self)> {
        let (b, h, n, d) = q.dims4()?;
        let (m, dv) = (k.dim(2)?, v.dim(3)?);
        let sizes = flash::Sizes { groups: b * h, n, m, d, dv, scale: scale as f32, relative: 0 };
        let bias = bias.map(Bias::new).transpose()?;
        Ok((sizes, Self { h, q: Heads::new(q)?, k: Heads::new(k)?, v: Heads::new(v)?, bias, n, dv }))
    }
}

/// The value, and, if asked for, what its gradient needs to know.
fn forward_tiled(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f64,
    bias: Option<&Tensor>,
    log: bool,
) -> Result<(Value, Vec<f32>)> {
    let (t, rows) = Whole::new(q, k, v, scale, bias)?;
    let mut logs = vec![0.; if log { t.groups * t.n } else { 0 }];
    let shared = (!logs.is_empty()).then(|| Shared::new(&mut logs));
    #[allow(unsafe_code)]
    // SAFETY: every query has outputs of its own, which are all there are; the processor has the tiles, as `serves` says.
    let y = unsafe { written(t.groups * t.n * t.dv, |y| flash::forward(&t, &rows, Shared::new(y), shared)) };
    let (b, h, n, _) = q.dims4()?;
    Ok((Value::new(y, (b, h, n, t.dv)), logs))
}

/// Gradients of queries, keys and values, and of the bias if it is trained.
fn backward_tiled(
    [q, k, v]: [&Tensor; 3],
    scale: f64,
    bias: Option<&Tensor>,
    trained: bool,
    y: &Tensor,
    logs: &[f32],
    g: &Tensor,
) -> Result<([Tensor; 3], Option<Tensor>)> {
    let (t, rows) = Whole::new(q, k, v, scale, bias)?;
    let (y, g) = (Data::<f32>::contiguous(y)?, Data::<f32>::contiguous(g)?);
    let trained = bias.filter(|_| trained);
    let biases = trained.map(|bias| bias.elem_count() / (t.n * t.m));
    let all = flash_backward::backward(&t, &rows, flash_backward::Known { y: &y, logs, g: &g }, biases);
    let (b, h, _, _) = q.dims4()?;
    let like = |x: Vec<f32>, n: usize, d: usize| Value::new(x, (b, h, n, d)).tensor();
    let dbias = trained.map(|bias| Value::new(all.bias, bias.dims()).tensor()).transpose()?;
    Ok(([like(all.dq, t.n, t.d)?, like(all.dk, t.m, t.d)?, like(all.dv, t.m, t.dv)?], dbias))
}

fn forward<T: Float>(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, bias: Option<&Tensor>) -> Result<Value> {
    let (b, h, n, d) = q.dims4()?;
    let (m, dv) = (k.dim(2)?, v.dim(3)?);
    let mut y = vec![T::ZERO; b * h * n * dv];
    if y.is_empty() {
        return Ok(Value::new(y, (b, h, n, dv)));
    }
    let (q, k, v) = (Heads::<T>::new(q)?, Heads::<T>::new(k)?, Heads::<T>::new(v)?);
    let bias = bias.map(Bias::<T>::new).transpose()?;
    let rows = block_rows(n, m);
    let blocks = n.div_ceil(rows);
    let shared = Shared::new(&mut y);
    (0..b * h * blocks).into_par_iter().for_each_init(Vec::new, |scratch, task| {
        let (group, from) = (task / blocks, task % blocks * rows);
        let (b, h) = (group / h, group % h);
        let count = rows.min(n - from);
        let bias = bias.as_ref().map(|bias| bias.rows(b, h, from, count));
        let block = Block {
            n: count,
            m,
            d,
            dv,
            scale: T::of(scale),
            q: q.mat(b, h).skip_rows(from),
            k: k.mat(b, h),
            v: v.mat(b, h),
            bias,
        };
        #[allow(unsafe_code)]
        // SAFETY: each block has rows of its own.
        let y = unsafe { shared.part((group * n + from) * dv, count * dv) };
        block.forward(scratch, y);
    });
    Ok(Value::new(y, (b, h, n, dv)))
}

fn backward<T: Float>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f64,
    bias: Option<&Tensor>,
    g: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (b, h, n, d) = q.dims4()?;
    let (m, dv) = (k.dim(2)?, v.dim(3)?);
    let (mut gq, mut gk, mut gv) =
        (vec![T::ZERO; b * h * n * d], vec![T::ZERO; b * h * m * d], vec![T::ZERO; b * h * m * dv]);
    if b * h * n * m * d * dv > 0 {
        let (q, k, v) = (Heads::<T>::new(q)?, Heads::<T>::new(k)?, Heads::<T>::new(v)?);
        let bias = bias.map(Bias::<T>::new).transpose()?;
        let g = Data::<T>::contiguous(g)?;
        let rows = block_rows(n, 2 * m);
        gq.par_chunks_mut(n * d)
            .zip(gk.par_chunks_mut(m * d).zip(gv.par_chunks_mut(m * dv)))
            .enumerate()
            .for_each_init(Vec::new, |scratch, (group, (gq, (gk, gv)))| {
                let (b, h) = (group / h, group % h);
                for from in (0..n).step_by(rows) {
                    let count = rows.min(n - from);
                    let bias = bias.as_ref().map(|bias| bias.rows(b, h, from, count));
                    let q = q.mat(b, h).skip_rows(from);
                    let block =
                        Block { n: count, m, d, dv, scale: T::of(scale), q, k: k.mat(b, h), v: v.mat(b, h), bias };
                    let g = Mat::new(&g, dv).skip_rows(group * n + from);
                    block.backward(scratch, g, &mut gq[from * d..(from + count) * d], gk, gv);
                }
            });
    }
    let like = |v: Vec<T>, n: usize, d: usize| Value::new(v, (b, h, n, d)).tensor();
    Ok((like(gq, n, d)?, like(gk, m, d)?, like(gv, m, dv)?))
}
