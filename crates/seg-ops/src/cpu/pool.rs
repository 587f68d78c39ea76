//! Pooling.

use super::{Data, Value, attach1, dispatch, simd, written};
use crate::error::Result;
use crate::float::Float;
use crate::{Layout, Pool2dParams};
use candle_core::Tensor;
use rayon::prelude::*;

/// What is made of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Maximum,
    Mean,
}

/// See [`crate::max_pool2d`] and [`crate::avg_pool2d`].
pub(crate) fn pool2d(x: &Tensor, p: &Pool2dParams, kind: Kind) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let p = *p;
    let value = dispatch!(x, self::forward(x, &p, kind))?;
    let name = if kind == Kind::Maximum { "max_pool2d" } else { "avg_pool2d" };
    attach1(name, value, x, move |x, _, g| dispatch!(x, self::backward(x, g, &p, kind)).map(Some))
}

/// A channels-first map is `B · C` images of one channel: both layouts are `[images, H, W, depth]`.
struct Shape {
    images: usize,
    depth: usize,
    input: (usize, usize),
    out: (usize, usize),
}

impl Shape {
    fn new(x: &Tensor, p: &Pool2dParams) -> Result<Self> {
        let (b, c, h, w) = p.layout.dims("pool2d", "x", x)?;
        let (images, depth) = match p.layout {
            Layout::Nchw => (b * c, 1),
            Layout::Nhwc => (b, c),
        };
        Ok(Self { images, depth, input: (h, w), out: (p.output(h), p.output(w)) })
    }

    /// The pixels `from..to` of an axis of `len` that window `o` covers.
    #[inline(always)]
    fn window(p: &Pool2dParams, o: usize, len: usize) -> (usize, usize) {
        let start = o * p.stride;
        (start.saturating_sub(p.padding), (start + p.kernel - p.padding).min(len))
    }
}

fn forward<T: Float>(x: &Tensor, p: &Pool2dParams, kind: Kind) -> Result<Value> {
    let s = Shape::new(x, p)?;
    let (b, c, _, _) = p.layout.dims("pool2d", "x", x)?;
    let data = Data::<T>::contiguous(x)?;
    let (d, (h, w)) = (s.depth, s.input);
    let each = |y: &mut [T]| {
        if y.is_empty() {
            return;
        }
        y.par_chunks_mut(s.out.1 * d).with_min_len(1024_usize.div_ceil(s.out.1 * d)).enumerate().for_each_init(
            Sums::default,
            |sums, (row, y)| {
                let (image, oy) = (row / s.out.0, row % s.out.0);
                let x = &data[image * h * w * d..][..h * w * d];
                let (top, bottom) = Shape::window(p, oy, h);
                if d == 1 && kind == Kind::Maximum {
                    return simd(
                        #[inline(always)]
                        || row_maxima(x, y, p, w, (top, bottom)),
                    );
                }
                if d == 1 && kind == Kind::Mean && p.kernel >= LARGE {
                    let rows = p.divisor(oy, h);
                    let finite = simd(
                        #[inline(always)]
                        || sums.row_means(&x[top * w..bottom * w], y, p, (w, rows)),
                    );
                    if finite {
                        return;
                    }
                }
                simd(
                    #[inline(always)]
                    || {
                        for (ox, y) in y.chunks_exact_mut(d).enumerate() {
                            let (left, right) = Shape::window(p, ox, w);
                            match kind {
                                Kind::Maximum => {
                                    y.copy_from_slice(&x[(top * w + left) * d..][..d]);
                                    for iy in top..bottom {
                                        for ix in left..right {
                                            for (y, &x) in y.iter_mut().zip(&x[(iy * w + ix) * d..][..d]) {
                                                *y = if wins(x, *y) { x } else { *y };
                                            }
                                        }
                                    }
                                }
                                Kind::Mean => {
                                    y.fill(T::ZERO);
                                    for iy in top..bottom {
                                        for ix in left..right {
                                            for (y, &x) in y.iter_mut().zip(&x[(iy * w + ix) * d..][..d]) {
                                                *y += x;
                                            }
                                        }
                                    }
                                    let n = T::of_usize(p.divisor(oy, h) * p.divisor(ox, w));
                                    for y in y {
                                        *y = *y / n;
                                    }
                                }
                            }
                        }
                    },
                );
            },
        );
    };
    #[allow(unsafe_code)]
    // SAFETY: every pixel of every row is copied to or filled before it is read.
    let y = unsafe { written(s.images * s.out.0 * s.out.1 * d, each) };
    Ok(Value::new(y, &p.layout.shape(b, c, s.out.0, s.out.1)[..]))
}

/// Windows of this side and more are summed up by columns, and along the row as differences of running sums.
const LARGE: usize = 4;

/// Sums of a row of windows: of each column over the windows' rows, and of the columns up to each.
#[derive(Default)]
struct Sums<T> {
    columns: Vec<T>,
    running: Vec<f64>,
}

impl<T: Float> Sums<T> {
    /// One row of means of one plane, from the rows `x` that its windows cover; `rows` counts towards the divisor. `false`, and nothing to be read, where a number is
    /// not finite: it would spoil the windows behind it.
    #[inline(always)]
    fn row_means(&mut self, x: &[T], y: &mut [T], p: &Pool2dParams, (w, rows): (usize, usize)) -> bool {
        self.columns.clear();
        self.columns.resize(w, T::ZERO);
        for x in x.chunks_exact(w) {
            self.columns.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x);
        }
        self.running.clear();
        self.running.push(0.);
        let mut sum = 0.;
        self.running.extend(self.columns.iter().map(|column| {
            sum += column.as_f64();
            sum
        }));
        for (ox, y) in y.iter_mut().enumerate() {
            let (left, right) = Shape::window(p, ox, w);
            *y = T::of((self.running[right] - self.running[left]) / (rows * p.divisor(ox, w)) as f64);
        }
        sum.is_finite()
    }
}

/// One row of maxima of one plane, column of the window by column, so that it vectorises.
#[inline(always)]
fn row_maxima<T: Float>(x: &[T], y: &mut [T], p: &Pool2dParams, w: usize, (top, bottom): (usize, usize)) {
    y.fill(T::NEG_INFINITY);
    for x in x[top * w..bottom * w].chunks_exact(w) {
        if p.kernel == 2 && p.stride == 2 && p.padding == 0 {
            for (y, pair) in y.iter_mut().zip(x.chunks_exact(2)) {
                let best = if wins(pair[1], pair[0]) { pair[1] } else { pair[0] };
                *y = if wins(best, *y) { best } else { *y };
            }
            if let (Some(y), [last]) = (y.get_mut(w / 2), x.chunks_exact(2).remainder()) {
                *y = if wins(*last, *y) { *last } else { *y };
            }
            continue;
        }
        for tap in 0..p.kernel {
            // the first output whose tap is inside, and where it reads
            let skip = p.padding.saturating_sub(tap).div_ceil(p.stride).min(y.len());
            let start = (skip * p.stride + tap).saturating_sub(p.padding).min(w);
            for (y, &x) in y[skip..].iter_mut().zip(x[start..].iter().step_by(p.stride)) {
                *y = if wins(x, *y) { x } else { *y };
            }
        }
    }
}

/// Whether `x` takes the maximum's place: it is greater, or not a number.
#[inline(always)]
#[allow(clippy::eq_op)]
fn wins<T: Float>(x: T, best: T) -> bool {
    x > best || x != x
}

fn backward<T: Float>(x: &Tensor, g: &Tensor, p: &Pool2dParams, kind: Kind) -> Result<Tensor> {
    let s = Shape::new(x, p)?;
    let (data, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(g)?);
    let (d, (h, w)) = (s.depth, s.input);
    let mut dx = vec![T::ZERO; data.len()];
    if !dx.is_empty() {
        let outputs = s.out.0 * s.out.1 * d;
        dx.par_chunks_mut(h * w * d).enumerate().for_each(|(image, dx)| {
            let (x, g) = (&data[image * h * w * d..][..h * w * d], &g[image * outputs..][..outputs]);
            let mut best = vec![0; d];
            for (o, g) in g.chunks_exact(d).enumerate() {
                let (oy, ox) = (o / s.out.1, o % s.out.1);
                let ((top, bottom), (left, right)) = (Shape::window(p, oy, h), Shape::window(p, ox, w));
                match kind {
                    Kind::Maximum => {
                        best.iter_mut().enumerate().for_each(|(c, best)| *best = (top * w + left) * d + c);
                        for iy in top..bottom {
                            for ix in left..right {
                                for (c, best) in best.iter_mut().enumerate() {
                                    let i = (iy * w + ix) * d + c;
                                    *best = if wins(x[i], x[*best]) { i } else { *best };
                                }
                            }
                        }
                        for (&best, &g) in best.iter().zip(g) {
                            dx[best] += g;
                        }
                    }
                    Kind::Mean => {
                        let share = T::ONE / T::of_usize(p.divisor(oy, h) * p.divisor(ox, w));
                        for iy in top..bottom {
                            for ix in left..right {
                                for (dx, &g) in dx[(iy * w + ix) * d..][..d].iter_mut().zip(g) {
                                    *dx = g.fma(share, *dx);
                                }
                            }
                        }
                    }
                }
            }
        });
    }
    Value::new(dx, x.dims()).tensor()
}
