//! Attention inside windows, straight out of the fused query-key-value map: no partitioned copies.

use super::attention::{Block, block_rows};
use super::matrix::{Mat, Shared};
use super::product::add_up;
use super::relative::Relative;
use super::{Data, Value, attach1, attach2, dispatch, flash, written};
use crate::error::Result;
use crate::float::Float;
use crate::{QkvOrder, RelativePositions, WindowAttention};
use candle_core::Tensor;
use rayon::prelude::*;

/// See [`crate::window_attention`]; `bias` gets no gradient here.
pub(crate) fn window_attention(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let qkv = &qkv.contiguous()?;
    let pad = pad.map(Tensor::contiguous).transpose()?;
    let bias = bias.map(|b| b.detach().contiguous()).transpose()?;
    let p = *p;
    let (_, h, w, _) = qkv.dims4()?;
    let value = if flash::serves(qkv, &[qkv.dims(), &[h / p.query_pool, w / p.query_pool]]) {
        forward_tiled(qkv, &p, pad.as_ref(), bias.as_ref(), None)?
    } else {
        dispatch!(qkv, self::forward(qkv, &p, pad.as_ref(), bias.as_ref()))?
    };
    match &pad {
        Some(pad) => attach2("window_attention", value, qkv, pad, move |qkv, pad, _, g| {
            dispatch!(qkv, self::backward(qkv, &p, Some(pad), bias.as_ref(), g))
                .map(|(dx, dpad)| (Some(dx), Some(dpad)))
        }),
        None => attach1("window_attention", value, qkv, move |qkv, _, g| {
            dispatch!(qkv, self::backward(qkv, &p, None, bias.as_ref(), g)).map(|(dx, _)| Some(dx))
        }),
    }
}

/// See [`crate::window_attention_with_rel_pos`]; without gradients, and only where the tiles serve.
pub(crate) fn with_rel_pos(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    relative: RelativePositions<'_>,
) -> Result<Option<Tensor>> {
    if !flash::serves(qkv, &[qkv.dims()]) {
        return Ok(None);
    }
    let qkv = &qkv.contiguous()?;
    let pad = pad.map(Tensor::contiguous).transpose()?;
    let (height, width) = (&relative.height.contiguous()?, &relative.width.contiguous()?);
    forward_tiled(qkv, p, pad.as_ref(), None, Some((height, width)))?.tensor().map(Some)
}

/// Which of the three a row of the map is read as.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

/// The map, its windows, and where things stand in it.
struct Windows<'a, T> {
    data: &'a [T],
    pad: &'a [T],
    order: QkvOrder,
    map: (usize, usize),
    /// Size of a window, of a window of pooled queries, and of the output map.
    window: (usize, usize),
    pooled: (usize, usize),
    out: (usize, usize),
    /// Windows of one map, down and across.
    count: (usize, usize),
    pool: usize,
    channels: usize,
    heads: usize,
    d: usize,
}

/// One head of one window.
#[derive(Clone, Copy)]
struct Site {
    batch: usize,
    /// Its first pixel in the map, and in the output map.
    origin: (usize, usize),
    out: (usize, usize),
    head: usize,
}

impl<'a, T: Float> Windows<'a, T> {
    fn new(data: &'a [T], pad: &'a [T], dims: (usize, usize, usize, usize), p: &WindowAttention) -> Self {
        let (_, h, w, c3) = dims;
        let window = if p.window == 0 { (h.max(1), w.max(1)) } else { (p.window, p.window) };
        Self {
            data,
            pad,
            order: p.order,
            map: (h, w),
            window,
            pooled: (window.0 / p.query_pool, window.1 / p.query_pool),
            out: (h / p.query_pool, w / p.query_pool),
            count: (h.div_ceil(window.0), w.div_ceil(window.1)),
            pool: p.query_pool,
            channels: c3 / 3,
            heads: p.heads,
            d: c3 / 3 / p.heads,
        }
    }

    fn site(&self, index: usize) -> Site {
        let (window, head) = (index / self.heads, index % self.heads);
        let (row, column) = (window / self.count.1 % self.count.0, window % self.count.1);
        Site {
            batch: window / (self.count.0 * self.count.1),
            origin: (row * self.window.0, column * self.window.1),
            out: (row * self.pooled.0, column * self.pooled.1),
            head,
        }
    }

    fn keys(&self) -> usize {
        self.window.0 * self.window.1
    }

    fn queries(&self) -> usize {
        self.pooled.0 * self.pooled.1
    }

    /// Where a part of a head begins in a row of `3C`.
    fn offset(&self, part: Part, head: usize) -> usize {
        match self.order {
            QkvOrder::SplitHeads => part as usize * self.channels + head * self.d,
            QkvOrder::HeadsSplit => (head * 3 + part as usize) * self.d,
        }
    }

    /// Where a window's pixel stands in the map, `None` in the padding.
    fn place(&self, site: Site, y: usize, x: usize) -> Option<usize> {
        let (y, x) = (site.origin.0 + y, site.origin.1 + x);
        let inside = y < self.map.0 && x < self.map.1;
        inside.then(|| ((site.batch * self.map.0 + y) * self.map.1 + x) * 3 * self.channels)
    }

    fn row(&self, site: Site, part: Part, y: usize, x: usize) -> &'a [T] {
        let offset = self.offset(part, site.head);
        match self.place(site, y, x) {
            Some(at) => &self.data[at + offset..][..self.d],
            None => &self.pad[offset..][..self.d],
        }
    }

    /// Keys or values of a window: in place where the window is the whole map, else gathered into `copy`.
    fn gather<'b>(&self, site: Site, part: Part, copy: &'b mut Vec<T>) -> Mat<'b, T>
    where
        'a: 'b,
    {
        if self.window == self.map {
            let at = site.batch * self.keys() * 3 * self.channels + self.offset(part, site.head);
            return Mat::new(&self.data[at..], 3 * self.channels);
        }
        copy.clear();
        for y in 0..self.window.0 {
            for x in 0..self.window.1 {
                copy.extend_from_slice(self.row(site, part, y, x));
            }
        }
        Mat::new(copy, self.d)
    }

    /// Queries `from..from + n` of a window, pooled.
    fn gather_queries<'b>(&self, site: Site, from: usize, n: usize, copy: &'b mut Vec<T>) -> Mat<'b, T>
    where
        'a: 'b,
    {
        if self.pool == 1 && self.window == self.map {
            return self.gather(site, Part::Query, copy).skip_rows(from);
        }
        copy.resize(n * self.d, T::ZERO);
        for (i, to) in copy.chunks_exact_mut(self.d).enumerate() {
            self.query(site, from + i, to);
        }
        Mat::new(copy, self.d)
    }

    /// A window's query, pooled.
    fn query(&self, site: Site, query: usize, to: &mut [T]) {
        let (y, x) = (query / self.pooled.1 * self.pool, query % self.pooled.1 * self.pool);
        to.copy_from_slice(self.row(site, Part::Query, y, x));
        for tap in 1..self.pool * self.pool {
            let row = self.row(site, Part::Query, y + tap / self.pool, x + tap % self.pool);
            for (best, &q) in to.iter_mut().zip(row) {
                if q > *best || q.as_f64().is_nan() {
                    *best = q;
                }
            }
        }
    }

    /// Where the output of a window's query begins, `None` if it is cut off.
    fn output(&self, site: Site, query: usize) -> Option<usize> {
        let (y, x) = (site.out.0 + query / self.pooled.1, site.out.1 + query % self.pooled.1);
        let inside = y < self.out.0 && x < self.out.1;
        inside.then(|| ((site.batch * self.out.0 + y) * self.out.1 + x) * self.channels + site.head * self.d)
    }
}

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

/// Windows for the tiles.
struct Tiled<'a> {
    windows: Windows<'a, f32>,
    bias: Option<Data<'a, f32>>,
    relative: Option<Relative>,
}

impl flash::Rows for Tiled<'_> {
    fn query(&self, group: usize, i: usize, to: &mut [f32]) {
        self.windows.query(self.windows.site(group), i, to);
    }

    fn key(&self, group: usize, j: usize) -> &[f32] {
        let (w, site) = (&self.windows, self.windows.site(group));
        w.row(site, Part::Key, j / w.window.1, j % w.window.1)
    }

    fn value(&self, group: usize, j: usize) -> &[f32] {
        let (w, site) = (&self.windows, self.windows.site(group));
        w.row(site, Part::Value, j / w.window.1, j % w.window.1)
    }

    fn bias(&self, group: usize) -> Option<&[f32]> {
        let size = self.windows.queries() * self.windows.keys();
        self.bias.as_ref().map(|bias| &bias[group % self.windows.heads * size..][..size])
    }

    fn relative(&self) -> Option<&Relative> {
        self.relative.as_ref()
    }

    fn output(&self, group: usize, i: usize) -> Option<usize> {
        self.windows.output(self.windows.site(group), i)
    }
}

fn forward_tiled(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
    relative: Option<(&Tensor, &Tensor)>,
) -> Result<Value> {
    let dims = qkv.dims4()?;
    let data = Data::<f32>::contiguous(qkv)?;
    let pad = pad.map(Data::<f32>::contiguous).transpose()?;
    let windows = Windows::new(&data, pad.as_deref().unwrap_or(&[]), dims, p);
    let shape = (dims.0, windows.out.0, windows.out.1, windows.channels);
    let d = windows.d;
    let relative = match relative {
        Some((height, width)) => {
            let (height, width) = (Data::<f32>::contiguous(height)?, Data::<f32>::contiguous(width)?);
            Some(Relative::new(&height, &width, windows.window, d))
        }
        None => None,
    };
    let sizes = flash::Sizes {
        groups: dims.0 * windows.count.0 * windows.count.1 * p.heads,
        n: windows.queries(),
        m: windows.keys(),
        d,
        dv: d,
        scale: p.scale as f32,
        relative: relative.as_ref().map_or(0, Relative::columns),
    };
    let rows = Tiled { windows, bias: bias.map(Data::contiguous).transpose()?, relative };
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    #[allow(unsafe_code)]
    // SAFETY: each pixel's channels of a head belong to one query, and all are some query's; the processor has the tiles, as `serves` says.
    let y = unsafe { written(count, |y| flash::forward(&sizes, &rows, Shared::new(y))) };
    Ok(Value::new(y, shape))
}

fn forward<T: Float>(qkv: &Tensor, p: &WindowAttention, pad: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Value> {
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

fn backward<T: Float>(
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
    let (mut dk, mut dv) = (vec![T::ZERO; m * d], vec![T::ZERO; m * d]);
    // adds to the gradient of one row of the map, or of the padding row
    let mut put = |part: Part, y: usize, x: usize, gradient: &dyn Fn(usize) -> T| {
        let offset = windows.offset(part, site.head);
        match windows.place(site, y, x) {
            Some(at) => {
                #[allow(unsafe_code)]
                // SAFETY: this pixel's channels of this head belong to this window alone.
                let row = unsafe { dqkv.part(at + offset, d) };
                row.iter_mut().enumerate().for_each(|(i, r)| *r += gradient(i));
            }
            None => dpad[offset..offset + d].iter_mut().enumerate().for_each(|(i, r)| *r += gradient(i)),
        }
    };
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
        let mut dq = vec![T::ZERO; count * d];
        block.backward(&mut s.p, Mat::new(&s.y, d), &mut dq, &mut dk, &mut dv);
        for (i, dq) in dq.chunks_exact(d).enumerate() {
            let pooled = &q.data[i * q.rows..][..d];
            let query = from + i;
            let (y, x) = (query / windows.pooled.1 * p.query_pool, query % windows.pooled.1 * p.query_pool);
            let mut given = vec![false; d];
            for tap in 0..p.query_pool * p.query_pool {
                let (y, x) = (y + tap / p.query_pool, x + tap % p.query_pool);
                // the first of equal maxima gets all of it
                let row = windows.row(site, Part::Query, y, x);
                let mine: Vec<bool> =
                    (0..d).map(|c| !given[c] && (row[c] >= pooled[c] || row[c].as_f64().is_nan())).collect();
                put(Part::Query, y, x, &|c| if mine[c] { dq[c] } else { T::ZERO });
                given.iter_mut().zip(mine).for_each(|(given, mine)| *given |= mine);
            }
        }
    }
    for key in 0..m {
        let (y, x) = (key / windows.window.1, key % windows.window.1);
        put(Part::Key, y, x, &|c| dk[key * d + c]);
        put(Part::Value, y, x, &|c| dv[key * d + c]);
    }
}
