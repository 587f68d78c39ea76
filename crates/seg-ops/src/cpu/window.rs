//! Attention inside windows, straight out of the fused query-key-value map: no partitioned copies.

use super::attention::{Block, block_rows};
use super::matrix::{Mat, Shared};
use super::product::add_up;
use super::relative::Relative;
use super::{Data, Value, attach1, attach2, dispatch, flash, flash_backward, tracked, written};
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
    let tiled = flash::serves(qkv, &[qkv.dims(), &[h / p.query_pool, w / p.query_pool]]);
    let (value, logs) = if tiled {
        forward_tiled(qkv, &p, pad.as_ref(), bias.as_ref(), None)?
    } else {
        (dispatch!(qkv, self::forward(qkv, &p, pad.as_ref(), bias.as_ref()))?, Vec::new())
    };
    let backward = move |qkv: &Tensor, pad: Option<&Tensor>, y: &Tensor, g: &Tensor| {
        if tiled {
            backward_tiled(qkv, &p, pad, bias.as_ref(), y, &logs, g)
        } else {
            dispatch!(qkv, self::backward(qkv, &p, pad, bias.as_ref(), g))
        }
    };
    match &pad {
        Some(pad) => attach2("window_attention", value, qkv, pad, move |qkv, pad, y, g| {
            backward(qkv, Some(pad), y, g).map(|(dx, dpad)| (Some(dx), Some(dpad)))
        }),
        None => {
            attach1("window_attention", value, qkv, move |qkv, y, g| backward(qkv, None, y, g).map(|(dx, _)| Some(dx)))
        }
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
    forward_tiled(qkv, p, pad.as_ref(), None, Some((height, width)))?.0.tensor().map(Some)
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

impl<T: Float> Windows<'_, T> {
    /// Puts the gradients of a window's queries, keys and values into the map's, or adds them to the padding row's. Pixels that no query is pooled
    /// from (behind the last whole square) are left as they are.
    fn scatter(&self, site: Site, [dq, dk, dv]: [&[T]; 3], dqkv: Shared<'_, T>, dpad: &mut [T]) {
        let d = self.d;
        let mut add = |part: Part, y: usize, x: usize, gradient: &[T]| {
            let offset = self.offset(part, site.head);
            match self.place(site, y, x) {
                #[allow(unsafe_code)]
                // SAFETY: this pixel's channels of this head belong to this window alone.
                Some(at) => unsafe { dqkv.part(at + offset, d) }.copy_from_slice(gradient),
                None => dpad[offset..offset + d].iter_mut().zip(gradient).for_each(|(r, &g)| *r += g),
            }
        };
        for key in 0..self.keys() {
            let (y, x) = (key / self.window.1, key % self.window.1);
            add(Part::Key, y, x, &dk[key * d..][..d]);
            add(Part::Value, y, x, &dv[key * d..][..d]);
        }
        let mut best = vec![T::ZERO; d];
        for (query, dq) in dq.chunks_exact(d).enumerate() {
            let (y, x) = (query / self.pooled.1 * self.pool, query % self.pooled.1 * self.pool);
            if self.pool == 1 {
                add(Part::Query, y, x, dq);
                continue;
            }
            // the first of equal maxima gets all of it
            self.query(site, query, &mut best);
            let mut open = vec![true; d];
            for tap in 0..self.pool * self.pool {
                let (y, x) = (y + tap / self.pool, x + tap % self.pool);
                let row = self.row(site, Part::Query, y, x);
                let mut gradient = vec![T::ZERO; d];
                for c in 0..d {
                    if open[c] && (row[c] >= best[c] || row[c].as_f64().is_nan()) {
                        gradient[c] = dq[c];
                        open[c] = false;
                    }
                }
                add(Part::Query, y, x, &gradient);
            }
        }
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

impl<'a> Tiled<'a> {
    fn new(
        windows: Windows<'a, f32>,
        batch: usize,
        scale: f64,
        bias: Option<&'a Tensor>,
        relative: Option<(&Tensor, &Tensor)>,
    ) -> Result<(flash::Sizes, Self)> {
        let d = windows.d;
        let relative = match relative {
            Some((height, width)) => {
                let (height, width) = (Data::<f32>::contiguous(height)?, Data::<f32>::contiguous(width)?);
                Some(Relative::new(&height, &width, windows.window, d))
            }
            None => None,
        };
        let sizes = flash::Sizes {
            groups: batch * windows.count.0 * windows.count.1 * windows.heads,
            n: windows.queries(),
            m: windows.keys(),
            d,
            dv: d,
            scale: scale as f32,
            relative: relative.as_ref().map_or(0, Relative::columns),
        };
        Ok((sizes, Self { windows, bias: bias.map(Data::contiguous).transpose()?, relative }))
    }
}

/// The value, and what its gradient needs to know.
fn forward_tiled(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
    relative: Option<(&Tensor, &Tensor)>,
) -> Result<(Value, Vec<f32>)> {
    let dims = qkv.dims4()?;
    let data = Data::<f32>::contiguous(qkv)?;
    let padding = pad.map(Data::<f32>::contiguous).transpose()?;
    let windows = Windows::new(&data, padding.as_deref().unwrap_or(&[]), dims, p);
    let shape = (dims.0, windows.out.0, windows.out.1, windows.channels);
    let (sizes, rows) = Tiled::new(windows, dims.0, p.scale, bias, relative)?;
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let mut logs = vec![0.; if tracked(&[Some(qkv), pad]) { sizes.groups * sizes.n } else { 0 }];
    let shared = (!logs.is_empty()).then(|| Shared::new(&mut logs));
    #[allow(unsafe_code)]
    // SAFETY: each pixel's channels of a head belong to one query, and all are some query's; the processor has the tiles, as `serves` says.
    let y = unsafe { written(count, |y| flash::forward(&sizes, &rows, Shared::new(y), shared)) };
    Ok((Value::new(y, shape), logs))
}

fn backward_tiled(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
    y: &Tensor,
    logs: &[f32],
    g: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let dims = qkv.dims4()?;
    let (data, y, g) = (Data::<f32>::contiguous(qkv)?, Data::<f32>::contiguous(y)?, Data::<f32>::contiguous(g)?);
    let padding = pad.map(Data::<f32>::contiguous).transpose()?;
    let windows = Windows::new(&data, padding.as_deref().unwrap_or(&[]), dims, p);
    let (t, rows) = Tiled::new(windows, dims.0, p.scale, bias, None)?;
    let (windows, known) = (&rows.windows, flash_backward::Known { y: &y, logs, g: &g });
    let (size_q, size_k) = (t.n * t.d, t.m * t.d);
    // the windows of one row at a time: few partial sums, and the same ones whatever the number of threads
    let chunk = windows.count.1 * p.heads;
    let mut parts: Vec<Vec<f32>> = Vec::new();
    let write = |dqkv: &mut [f32]| {
        if !dims.1.is_multiple_of(p.query_pool) || !dims.2.is_multiple_of(p.query_pool) {
            dqkv.fill(0.);
        }
        let shared = Shared::new(dqkv);
        parts = if chunk * windows.count.0 == p.heads {
            // whole maps
            let (dq, dk, dv) = flash_backward::backward(&t, &rows, known);
            (0..t.groups)
                .into_par_iter()
                .map(|group| {
                    let mut dpad = vec![0.; dims.3];
                    let gradients = [
                        &dq[group * size_q..][..size_q],
                        &dk[group * size_k..][..size_k],
                        &dv[group * size_k..][..size_k],
                    ];
                    windows.scatter(windows.site(group), gradients, shared, &mut dpad);
                    dpad
                })
                .collect()
        } else {
            (0..t.groups.div_ceil(chunk))
                .into_par_iter()
                .map(|row| {
                    let mut dpad = vec![0.; dims.3];
                    let (mut dq, mut dk, mut dv) = (vec![0.; size_q], vec![0.; size_k], vec![0.; size_k]);
                    for group in row * chunk..t.groups.min((row + 1) * chunk) {
                        flash_backward::group_backward(&t, &rows, group, 0..t.n, known, &mut dq, &mut dk, &mut dv);
                        windows.scatter(windows.site(group), [&dq, &dk, &dv], shared, &mut dpad);
                    }
                    dpad
                })
                .collect()
        };
    };
    #[allow(unsafe_code)]
    // SAFETY: each pixel's keys and values belong to one window, and so do its queries, unless the pooling leaves some out: then all is 0 before.
    let dqkv = unsafe { written(data.len(), write) };
    let dpad = add_up(parts, dims.3);
    Ok((Value::new(dqkv, dims).tensor()?, Value::new(dpad, dims.3).tensor()?))
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
