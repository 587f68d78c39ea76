//! Connected components of masks, from runs of equal pixels.

use crate::bits::{BitMask, row_runs};

/// Runs of equal pixels, row by row, and the connected component of each.
pub(crate) struct Runs {
    /// `(start, end)` of each run.
    pub(crate) spans: Vec<(u32, u32)>,
    /// The first run of each row, and the number of runs.
    pub(crate) rows: Vec<usize>,
    /// First, for the search, the parent run; then the first run of its component.
    pub(crate) root: Vec<u32>,
}

impl Runs {
    /// The runs of set pixels, or of those that are not.
    pub(crate) fn new(mask: &BitMask, inside: bool) -> Self {
        let (mut spans, mut rows) = (Vec::new(), Vec::with_capacity(mask.height() + 1));
        for y in 0..mask.height() {
            rows.push(spans.len());
            let runs = row_runs(mask.row(y)).map(|(a, b)| (a as u32, b as u32));
            if inside {
                spans.extend(runs);
            } else {
                let mut from = 0;
                for (start, end) in runs.chain([(mask.width() as u32, 0)]) {
                    if start > from {
                        spans.push((from, start));
                    }
                    from = end;
                }
            }
        }
        rows.push(spans.len());
        let root = (0..spans.len() as u32).collect();
        Self { spans, rows, root }
    }

    fn find(&mut self, mut run: u32) -> u32 {
        while self.root[run as usize] != run {
            let up = self.root[run as usize];
            self.root[run as usize] = self.root[up as usize];
            run = up;
        }
        run
    }

    /// Joins the components of two runs; the earlier root stays.
    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.root[a.max(b) as usize] = a.min(b);
    }

    /// Joins runs of neighbouring rows that touch; `reach` is 1 where corners do.
    pub(crate) fn connect(&mut self, reach: u32) {
        for y in 1..self.rows.len() - 1 {
            let (mut up, mut here) = (self.rows[y - 1], self.rows[y]);
            let (up_end, here_end) = (self.rows[y], self.rows[y + 1]);
            while up < up_end && here < here_end {
                let ((a0, a1), (b0, b1)) = (self.spans[up], self.spans[here]);
                if a0 < b1 + reach && b0 < a1 + reach {
                    self.join(up as u32, here as u32);
                }
                if a1 < b1 {
                    up += 1;
                } else {
                    here += 1;
                }
            }
        }
        // a root never comes after its runs
        for run in 0..self.root.len() {
            self.root[run] = self.root[self.root[run] as usize];
        }
    }

    /// Calls `f` with the row and the number of each component's first run, in raster order.
    pub(crate) fn for_each_root(&self, mut f: impl FnMut(usize, usize)) {
        self.for_each(|y, run| {
            if self.root[run] as usize == run {
                f(y, run);
            }
        });
    }

    /// Calls `f` with the row and the number of each run, in raster order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        for y in 0..self.rows.len() - 1 {
            (self.rows[y]..self.rows[y + 1]).for_each(|run| f(y, run));
        }
    }
}
