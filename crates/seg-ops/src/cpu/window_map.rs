//! The windows of a fused query-key-value map: where their pixels stand in it, and how gradients go back to it.

use super::matrix::{Mat, Shared};
use super::panels::copy;
use crate::float::Float;
use crate::{QkvOrder, WindowAttention};

/// Which of the three a row of the map is read as.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Query,
    Key,
    Value,
}

/// The map, its windows, and where things stand in it.
pub(super) struct Windows<'a, T> {
    data: &'a [T],
    pad: &'a [T],
    order: QkvOrder,
    pub map: (usize, usize),
    /// Size of a window, of a window of pooled queries, and of the output map.
    pub window: (usize, usize),
    pub pooled: (usize, usize),
    pub out: (usize, usize),
    /// Windows of one map, down and across.
    pub count: (usize, usize),
    pub pool: usize,
    pub channels: usize,
    pub heads: usize,
    pub d: usize,
}

/// One head of one window.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub batch: usize,
    /// Its first pixel in the map, and in the output map.
    pub origin: (usize, usize),
    pub out: (usize, usize),
    pub head: usize,
}

impl<'a, T: Float> Windows<'a, T> {
    pub fn new(data: &'a [T], pad: &'a [T], dims: (usize, usize, usize, usize), p: &WindowAttention) -> Self {
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

    pub fn site(&self, index: usize) -> Site {
        let (window, head) = (index / self.heads, index % self.heads);
        let (row, column) = (window / self.count.1 % self.count.0, window % self.count.1);
        Site {
            batch: window / (self.count.0 * self.count.1),
            origin: (row * self.window.0, column * self.window.1),
            out: (row * self.pooled.0, column * self.pooled.1),
            head,
        }
    }

    pub fn keys(&self) -> usize {
        self.window.0 * self.window.1
    }

    pub fn queries(&self) -> usize {
        self.pooled.0 * self.pooled.1
    }

    /// Where a part of a head begins in a row of `3C`.
    pub fn offset(&self, part: Part, head: usize) -> usize {
        match self.order {
            QkvOrder::SplitHeads => part as usize * self.channels + head * self.d,
            QkvOrder::HeadsSplit => (head * 3 + part as usize) * self.d,
        }
    }

    /// Where a window's pixel stands in the map, `None` in the padding.
    pub fn place(&self, site: Site, y: usize, x: usize) -> Option<usize> {
        let (y, x) = (site.origin.0 + y, site.origin.1 + x);
        let inside = y < self.map.0 && x < self.map.1;
        inside.then(|| ((site.batch * self.map.0 + y) * self.map.1 + x) * 3 * self.channels)
    }

    pub fn row(&self, site: Site, part: Part, y: usize, x: usize) -> &'a [T] {
        let offset = self.offset(part, site.head);
        match self.place(site, y, x) {
            Some(at) => &self.data[at + offset..][..self.d],
            None => &self.pad[offset..][..self.d],
        }
    }

    /// Keys or values of a window: in place where the window is the whole map, else gathered into `copy`.
    pub fn gather<'b>(&self, site: Site, part: Part, copy: &'b mut Vec<T>) -> Mat<'b, T>
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
    pub fn gather_queries<'b>(&self, site: Site, from: usize, n: usize, copy: &'b mut Vec<T>) -> Mat<'b, T>
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
    pub fn query(&self, site: Site, query: usize, to: &mut [T]) {
        let (y, x) = (query / self.pooled.1 * self.pool, query % self.pooled.1 * self.pool);
        copy(to, self.row(site, Part::Query, y, x));
        for tap in 1..self.pool * self.pool {
            let row = self.row(site, Part::Query, y + tap / self.pool, x + tap % self.pool);
            for (best, &q) in to.iter_mut().zip(row) {
                // a NaN stays one
                *best = if *best >= q || is_nan(*best) { *best } else { q };
            }
        }
    }

    /// Where the output of a window's query begins, `None` if it is cut off.
    pub fn output(&self, site: Site, query: usize) -> Option<usize> {
        let (y, x) = (site.out.0 + query / self.pooled.1, site.out.1 + query % self.pooled.1);
        let inside = y < self.out.0 && x < self.out.1;
        inside.then(|| ((site.batch * self.out.0 + y) * self.out.1 + x) * self.channels + site.head * self.d)
    }
}

impl<T: Float> Windows<'_, T> {
    /// Puts the gradients of a window's queries, keys and values into the map's, or adds them to the padding row's. Pixels that no query is pooled
    /// from (behind the last whole square) are left as they are.
    pub fn scatter(&self, site: Site, [dq, dk, dv]: [&[T]; 3], dqkv: Shared<'_, T>, dpad: &mut [T]) {
        let d = self.d;
        let mut add = |part: Part, y: usize, x: usize, gradient: &[T]| {
            let offset = self.offset(part, site.head);
            match self.place(site, y, x) {
                #[allow(unsafe_code)]
                // SAFETY: this pixel's channels of this head belong to this window alone.
                Some(at) => unsafe { copy(dqkv.part(at + offset, d), gradient) },
                None => dpad[offset..offset + d].iter_mut().zip(gradient).for_each(|(r, &g)| *r += g),
            }
        };
        for key in 0..self.keys() {
            let (y, x) = (key / self.window.1, key % self.window.1);
            add(Part::Key, y, x, &dk[key * d..][..d]);
            add(Part::Value, y, x, &dv[key * d..][..d]);
        }
        let (mut best, mut rest, mut gradient) = (vec![T::ZERO; d], vec![T::ZERO; d], vec![T::ZERO; d]);
        for (query, dq) in dq.chunks_exact(d).enumerate() {
            let (y, x) = (query / self.pooled.1 * self.pool, query % self.pooled.1 * self.pool);
            if self.pool == 1 {
                add(Part::Query, y, x, dq);
                continue;
            }
            // the first of equal maxima gets all of it
            self.query(site, query, &mut best);
            copy(&mut rest, dq);
            for tap in 0..self.pool * self.pool {
                let (y, x) = (y + tap / self.pool, x + tap % self.pool);
                let row = self.row(site, Part::Query, y, x);
                for (((gradient, rest), &q), &best) in gradient.iter_mut().zip(&mut rest).zip(row).zip(&best) {
                    let hit = q >= best || is_nan(q);
                    *gradient = if hit { *rest } else { T::ZERO };
                    *rest = if hit { T::ZERO } else { *rest };
                }
                add(Part::Query, y, x, &gradient);
            }
        }
    }
}

/// In a form that is compiled to vectors.
#[allow(clippy::eq_op)]
#[inline(always)]
fn is_nan<T: Float>(x: T) -> bool {
    x != x
}
