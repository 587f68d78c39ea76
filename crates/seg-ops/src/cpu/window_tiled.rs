//! f32 window attention in tiles, and its gradients.

use super::flash_backward::{Known, Targets};
use super::matrix::Shared;
use super::product::add_up;
use super::relative::Relative;
use super::window_map::{Part, Windows};
use super::{Data, Value, flash, flash_backward, written};
use crate::WindowAttention;
use crate::error::Result;
use candle_core::Tensor;
use rayon::prelude::*;

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

    fn holder(&self, group: usize) -> usize {
        group % self.windows.heads
    }

    fn relative(&self) -> Option<&Relative> {
        self.relative.as_ref()
    }

    fn output(&self, group: usize, i: usize) -> Option<usize> {
        self.windows.output(self.windows.site(group), i)
    }
}

/// What an attention in windows is made from: the map, its padding, and either a bias or tables of relative positions. All are contiguous.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    pub qkv: &'a Tensor,
    pub pad: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
    pub tables: Option<(&'a Tensor, &'a Tensor)>,
    pub p: WindowAttention,
}

/// Their gradients.
pub(super) struct Gradients {
    pub qkv: Tensor,
    pub pad: Tensor,
    pub bias: Option<Tensor>,
    pub height: Option<Tensor>,
    pub width: Option<Tensor>,
}

impl<'a> Arguments<'a> {
    /// The windows of `data`, for gradients or not.
    fn tiled(&self, data: &'a [f32], pad: &'a [f32], gradients: bool) -> Result<(flash::Sizes, Tiled<'a>)> {
        let dims = self.qkv.dims4()?;
        let windows = Windows::new(data, pad, dims, &self.p);
        let d = windows.d;
        let relative = match self.tables {
            Some((height, width)) => {
                let (height, width) = (Data::<f32>::contiguous(height)?, Data::<f32>::contiguous(width)?);
                let new = if gradients { Relative::with_gradients } else { Relative::new };
                Some(new(&height, &width, windows.window, d))
            }
            None => None,
        };
        let sizes = flash::Sizes {
            groups: dims.0 * windows.count.0 * windows.count.1 * windows.heads,
            n: windows.queries(),
            m: windows.keys(),
            d,
            dv: d,
            scale: self.p.scale as f32,
            relative: relative.as_ref().map_or(0, Relative::columns),
        };
        Ok((sizes, Tiled { windows, bias: self.bias.map(Data::contiguous).transpose()?, relative }))
    }

    /// The value, and, if asked for, what its gradient needs to know.
    pub fn forward(&self, log: bool) -> Result<(Value, Vec<f32>)> {
        let data = Data::<f32>::contiguous(self.qkv)?;
        let padding = self.pad.map(Data::<f32>::contiguous).transpose()?;
        let (sizes, rows) = self.tiled(&data, padding.as_deref().unwrap_or(&[]), false)?;
        let w = &rows.windows;
        let shape = (self.qkv.dim(0)?, w.out.0, w.out.1, w.channels);
        let count = shape.0 * shape.1 * shape.2 * shape.3;
        let mut logs = vec![0.; if log { sizes.groups * sizes.n } else { 0 }];
        let shared = log.then(|| Shared::new(&mut logs));
        #[allow(unsafe_code)]
        // SAFETY: each pixel's channels of a head belong to one query, and all are some query's; the processor has the tiles, as `serves` says.
        let y = unsafe { written(count, |y| flash::forward(&sizes, &rows, Shared::new(y), shared)) };
        Ok((Value::new(y, shape), logs))
    }

    /// The gradients from that of the value, `g`; of the bias only if it is trained.
    pub fn backward(&self, trained: bool, y: &Tensor, logs: &[f32], g: &Tensor) -> Result<Gradients> {
        let dims = self.qkv.dims4()?;
        let data = Data::<f32>::contiguous(self.qkv)?;
        let (y, g) = (Data::<f32>::contiguous(y)?, Data::<f32>::contiguous(g)?);
        let padding = self.pad.map(Data::<f32>::contiguous).transpose()?;
        let (t, rows) = self.tiled(&data, padding.as_deref().unwrap_or(&[]), true)?;
        let known = Known { y: &y, logs, g: &g };
        let (pool, map) = (self.p.query_pool, rows.windows.map);
        let mut sums = Sums::default();
        let write = |dqkv: &mut [f32]| {
            if !map.0.is_multiple_of(pool) || !map.1.is_multiple_of(pool) {
                dqkv.fill(0.);
            }
            let shared = Shared::new(dqkv);
            sums = if rows.windows.count == (1, 1) {
                whole_maps(&t, &rows, known, trained, shared)
            } else {
                rows_of_windows(&t, &rows, known, trained, shared)
            };
        };
        #[allow(unsafe_code)]
        // SAFETY: each pixel's keys and values belong to one window, and so do its queries, unless the pooling leaves some out: then all is 0 before.
        let dqkv = unsafe { written(data.len(), write) };
        let (mut height, mut width) = (None, None);
        if let (Some(relative), Some(tables)) = (&rows.relative, self.tables) {
            let [down, across] = relative.unreversed(&sums.tables);
            height = Some(Value::new(down, tables.0.dims()).tensor()?);
            width = Some(Value::new(across, tables.1.dims()).tensor()?);
        }
        let bias = self.bias.filter(|_| trained).map(|bias| Value::new(sums.bias, bias.dims()).tensor()).transpose()?;
        Ok(Gradients {
            qkv: Value::new(dqkv, dims).tensor()?,
            pad: Value::new(sums.pad, dims.3).tensor()?,
            bias,
            height,
            width,
        })
    }
}

/// Gradients that all windows add to.
#[derive(Default)]
struct Sums {
    pad: Vec<f32>,
    bias: Vec<f32>,
    tables: Vec<f32>,
}

/// One window a map: its queries are taken in stretches.
fn whole_maps(t: &flash::Sizes, rows: &Tiled<'_>, known: Known<'_>, trained: bool, dqkv: Shared<'_, f32>) -> Sums {
    let windows = &rows.windows;
    let all = flash_backward::backward(t, rows, known, trained.then_some(windows.heads));
    let (size_q, size_k) = (t.n * t.d, t.m * t.d);
    let pads: Vec<Vec<f32>> = (0..t.groups)
        .into_par_iter()
        .map(|group| {
            let mut pad = vec![0.; 3 * windows.channels];
            let gradients = [
                &all.dq[group * size_q..][..size_q],
                &all.dk[group * size_k..][..size_k],
                &all.dv[group * size_k..][..size_k],
            ];
            windows.scatter(windows.site(group), gradients, dqkv, &mut pad);
            pad
        })
        .collect();
    Sums { pad: add_up(pads, 3 * windows.channels), bias: all.bias, tables: all.tables }
}

/// Most stretches of windows that have sums of their own.
const STRETCHES: usize = 16;

/// One head of some rows of windows at a time: few partial sums, and the same ones whatever the number of threads.
fn rows_of_windows(t: &flash::Sizes, rows: &Tiled<'_>, known: Known<'_>, trained: bool, dqkv: Shared<'_, f32>) -> Sums {
    let (windows, heads) = (&rows.windows, rows.windows.heads);
    let count = t.groups / heads;
    let stretch = (count / windows.count.1).div_ceil(STRETCHES) * windows.count.1;
    let (size_q, size_k, size_bias) = (t.n * t.d, t.m * t.d, if trained { t.n * t.m } else { 0 });
    let size_tables = rows.relative.as_ref().map_or(0, Relative::elements);
    let parts: Vec<Sums> = (0..count.div_ceil(stretch) * heads)
        .into_par_iter()
        .map(|task| {
            let (from, head) = (task / heads * stretch, task % heads);
            let (mut dq, mut dk, mut dv) = (vec![0.; size_q], vec![0.; size_k], vec![0.; size_k]);
            let mut sums =
                Sums { pad: vec![0.; 3 * windows.channels], bias: vec![0.; size_bias], tables: vec![0.; size_tables] };
            for window in from..count.min(from + stretch) {
                let group = window * heads + head;
                let to = Targets {
                    dq: &mut dq,
                    dk: &mut dk,
                    dv: &mut dv,
                    bias: trained.then_some(&mut sums.bias),
                    tables: (size_tables > 0).then_some(&mut sums.tables),
                };
                flash_backward::group_backward(t, rows, group, 0..t.n, known, to);
                windows.scatter(windows.site(group), [&dq, &dk, &dv], dqkv, &mut sums.pad);
            }
            sums
        })
        .collect();
    let mut all = Sums { pad: vec![0.; 3 * windows.channels], bias: Vec::new(), tables: vec![0.; size_tables] };
    all.bias.resize(heads * size_bias, 0.);
    for (task, part) in parts.iter().enumerate() {
        let bias = &mut all.bias[task % heads * size_bias..][..size_bias];
        for (to, from) in [(&mut all.pad[..], &part.pad), (bias, &part.bias), (&mut all.tables[..], &part.tables)] {
            for (to, &x) in to.iter_mut().zip(from) {
                *to += x;
            }
        }
    }
    all
}
