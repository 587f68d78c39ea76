//! How much of each pixel an outline covers: exact areas, not samples.
//!
//! Corners lie on eighths of a pixel row. Between two such heights all edges are straight and whole, so that a row falls into a few bands of trapezoids whose areas in each pixel
//! are added up. Where edges cross within a band, it is cut into four, and the order at the middle of each decides what is inside.

use super::path::Path;

/// Heights are counted in eighths of a pixel.
const PARTS: i32 = 8;

/// Levels of a part of the picture; 0 around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coverage {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
    /// Row by row, 0 to 255.
    pub levels: Vec<u8>,
}

impl Coverage {
    /// The level at a pixel of the picture.
    pub fn at(&self, x: i64, y: i64) -> u8 {
        let (x, y) = (x - i64::from(self.left), y - i64::from(self.top));
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        if inside { self.levels[(y * i64::from(self.width) + x) as usize] } else { 0 }
    }

    /// The same in another window.
    pub fn within(&self, [left, top]: [u32; 2], (width, height): (u32, u32)) -> Self {
        let rows = (i64::from(top)..i64::from(top + height)).map(|y| (i64::from(left), y));
        let levels = rows.flat_map(|(left, y)| (left..left + i64::from(width)).map(move |x| self.at(x, y))).collect();
        Self { left, top, width, height, levels }
    }

    /// Row `y` of the window.
    pub fn row(&self, y: u32) -> &[u8] {
        &self.levels[(y * self.width) as usize..][..self.width as usize]
    }
}

struct Edge {
    /// Upper and lower end in eighths.
    from: i32,
    to: i32,
    /// x at `from`, and what it grows by in an eighth.
    x: f64,
    slope: f64,
    winding: i32,
}

impl Edge {
    fn at(&self, height: f64) -> f64 {
        self.x + (height - f64::from(self.from)) * self.slope
    }
}

/// What a path covers of a picture of `width` x `height`; `None` where they do not meet.
pub(super) fn fill(path: &Path, (width, height): (u32, u32)) -> Option<Coverage> {
    let (mut edges, [left, right]) = edges(path, height);
    let left = (left.floor().max(0.) as u32).min(width);
    let right = (right.ceil().clamp(0., f64::from(width)) as u32).max(left);
    let top = edges.iter().map(|e| e.from).min()? / PARTS;
    let bottom = edges.iter().map(|e| e.to).max().map_or(top, |to| (to + PARTS - 1) / PARTS);
    if right == left || bottom <= top {
        return None;
    }
    let mut cuts = vec![0u8; (bottom - top) as usize];
    for end in edges.iter().flat_map(|e| [e.from, e.to]).filter(|end| end % PARTS != 0) {
        cuts[(end / PARTS - top) as usize] |= 1 << (end % PARTS);
    }
    edges.sort_by_key(|e| e.from);
    let (wide, mut next, mut active) = ((right - left) as usize, 0, Vec::new());
    let mut sums = vec![0f32; wide + 2];
    let mut levels = Vec::with_capacity(wide * cuts.len());
    let mut band = Band { left: f64::from(left), wide: wide as f64, crossings: Vec::new() };
    for (row, cuts) in cuts.iter().enumerate() {
        let above = (top + row as i32) * PARTS;
        let mut begin = 0;
        for end in (1..=PARTS).filter(|&k| k == PARTS || cuts & (1 << k) != 0) {
            while next < edges.len() && edges[next].from <= above + begin {
                active.push(next);
                next += 1;
            }
            active.retain(|&e| edges[e].to > above + begin);
            band.add(&edges, &mut active, f64::from(above + begin), f64::from(above + end), &mut sums);
            begin = end;
        }
        let mut sum = 0f32;
        levels.extend(sums[..wide].iter().map(|step| {
            sum += step;
            (sum.clamp(0., 1.) * 255. + 0.5) as u8
        }));
        sums.fill(0.);
    }
    Some(Coverage { left, top: top as u32, width: right - left, height: (bottom - top) as u32, levels })
}

/// The edges within the picture's height, and the least and largest x.
fn edges(path: &Path, height: u32) -> (Vec<Edge>, [f64; 2]) {
    let (mut edges, mut reach) = (Vec::new(), [f64::INFINITY, f64::NEG_INFINITY]);
    let lowest = height as i32 * PARTS;
    for contour in path.contours() {
        for (p, q) in contour.iter().zip(contour.iter().cycle().skip(1)) {
            let eighths = |y: f64| (y * f64::from(PARTS)).round().clamp(-1e8, 1e8) as i32;
            let (winding, p, q) = if p[1] <= q[1] { (1, p, q) } else { (-1, q, p) };
            let (from, to) = (eighths(p[1]), eighths(q[1]));
            if from == to || to <= 0 || from >= lowest {
                continue;
            }
            reach = [reach[0].min(p[0]).min(q[0]), reach[1].max(p[0]).max(q[0])];
            let slope = (q[0] - p[0]) / f64::from(to - from);
            let above = f64::from((-from).max(0));
            edges.push(Edge { from: from.max(0), to: to.min(lowest), x: p[0] + above * slope, slope, winding });
        }
    }
    (edges, reach)
}

/// Trapezoids between two heights.
struct Band {
    left: f64,
    wide: f64,
    /// x at the upper and lower end, and the winding.
    crossings: Vec<(f64, f64, i32)>,
}

impl Band {
    fn add(&mut self, edges: &[Edge], active: &mut [usize], from: f64, to: f64, sums: &mut [f32]) {
        let middle = (from + to) / 2.;
        sort_nearly_sorted(active, |&e| edges[e].at(middle));
        let crosses = active.windows(2).any(|pair| {
            let [a, b] = [&edges[pair[0]], &edges[pair[1]]];
            a.at(from) > b.at(from) + 0.02 || a.at(to) > b.at(to) + 0.02
        });
        let pieces = if crosses { 4 } else { 1 };
        for piece in 0..pieces {
            let at = |k: i32| from + (to - from) * f64::from(k) / f64::from(pieces);
            let (from, to) = (at(piece), at(piece + 1));
            self.crossings.clear();
            self.crossings.extend(active.iter().map(|&e| (edges[e].at(from), edges[e].at(to), edges[e].winding)));
            if crosses {
                sort_nearly_sorted(&mut self.crossings, |c| c.0 + c.1);
            }
            let (high, mut winding) = ((to - from) / f64::from(PARTS), 0);
            for &(x0, x1, step) in &self.crossings {
                let before = winding;
                winding += step;
                if before == 0 {
                    spread(sums, x0 - self.left, x1 - self.left, high, self.wide);
                } else if winding == 0 {
                    spread(sums, x0 - self.left, x1 - self.left, -high, self.wide);
                }
            }
        }
    }
}

/// Adds what lies to the right of an edge that goes from `x0` to `x1` over `high` of a row: the running sum of `sums` is then the area covered in each pixel.
fn spread(sums: &mut [f32], x0: f64, x1: f64, high: f64, wide: f64) {
    let (low, top) = (x0.min(x1), x0.max(x1));
    if low >= wide {
        return;
    }
    if top <= 0. {
        sums[0] += high as f32;
        return;
    }
    let pixel = low.floor();
    if low >= 0. && top <= pixel + 1. {
        let right = high * ((low + top) / 2. - pixel);
        sums[pixel as usize] += (high - right) as f32;
        sums[pixel as usize + 1] += right as f32;
        return;
    }
    let each = high / (top - low);
    sums[0] += ((0f64.min(top) - low).max(0.) * each) as f32;
    let (mut at, end) = (low.max(0.), top.min(wide));
    while at < end {
        let pixel = at.floor();
        let until = end.min(pixel + 1.);
        let part = (until - at) * each;
        let right = part * ((at + until) / 2. - pixel);
        sums[pixel as usize] += (part - right) as f32;
        sums[pixel as usize + 1] += right as f32;
        at = until;
    }
}

/// Insertion: quick where little has changed since the band above.
fn sort_nearly_sorted<T: Copy>(items: &mut [T], key: impl Fn(&T) -> f64) {
    for i in 1..items.len() {
        let (item, mut at) = (items[i], i);
        let value = key(&item);
        while at > 0 && key(&items[at - 1]) > value {
            items[at] = items[at - 1];
            at -= 1;
        }
        items[at] = item;
    }
}
