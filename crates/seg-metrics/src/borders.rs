//! Borders of the regions of a mask, in the order of OpenCV's `findContours` with tree retrieval and every pixel kept.
//!
//! Regions are 8-connected, holes 4-connected; both are found from runs. A border is followed as Suzuki and Abe do
//! ("Topological structural analysis of digitized binary images by border following", 1985). The order is depth first,
//! parents before children, and siblings in the reverse order of their first pixels.

use crate::bits::BitMask;
use crate::runs::Runs;

/// One border of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Border {
    /// The column of its first pixel.
    pub x: usize,
    /// The row of its first pixel.
    pub y: usize,
    /// Whether it surrounds a hole.
    pub hole: bool,
    /// Number of its region.
    pub region: usize,
}

/// The 8-connected regions of a mask and how they lie in each other.
pub struct Regions {
    /// How many there are.
    pub count: usize,
    runs: Runs,
    /// The region of a root run.
    number: Vec<u32>,
    /// In the order described above.
    borders: Vec<Border>,
}

const NOTHING: u32 = u32::MAX;

impl Regions {
    /// The regions of a mask.
    pub fn new(mask: &BitMask) -> Self {
        let mut runs = Runs::new(mask, true);
        runs.connect(1);
        let mut number = vec![NOTHING; runs.spans.len()];
        let mut count = 0;
        for (run, number) in number.iter_mut().enumerate() {
            if runs.root[run] as usize == run {
                *number = count as u32;
                count += 1;
            }
        }
        let borders = if count == 0 { Vec::new() } else { ordered_borders(mask, &runs, &number, count) };
        Self { count, runs, number, borders }
    }

    /// All borders, in OpenCV's order.
    pub fn borders(&self) -> &[Border] {
        &self.borders
    }

    /// Which regions have a pixel in `other`.
    pub fn touched_by(&self, other: &BitMask) -> Vec<bool> {
        let mut touched = vec![false; self.count];
        for y in 0..other.height() {
            let row = other.row(y);
            for run in self.runs.rows[y]..self.runs.rows[y + 1] {
                let (start, end) = self.runs.spans[run];
                let region = self.number[self.runs.root[run] as usize] as usize;
                touched[region] = touched[region] || any_in(row, start as usize, end as usize);
            }
        }
        touched
    }
}

/// Whether a pixel of `start..end` is set.
fn any_in(row: &[u64], start: usize, end: usize) -> bool {
    let (first, last) = (start / 64, (end - 1) / 64);
    (first..=last).any(|i| {
        let from = if i == first { !0 << (start % 64) } else { !0 };
        let to = if i == last { !0 >> (63 - (end - 1) % 64) } else { !0 };
        row[i] & from & to != 0
    })
}

fn ordered_borders(mask: &BitMask, runs: &Runs, number: &[u32], count: usize) -> Vec<Border> {
    let width = mask.width() as u32;
    let mut gaps = Runs::new(mask, false);
    gaps.connect(0);
    // gaps that reach the frame belong to what is outside
    let mut outside = vec![false; gaps.spans.len()];
    for y in 0..mask.height() {
        for gap in gaps.rows[y]..gaps.rows[y + 1] {
            let (start, end) = gaps.spans[gap];
            if start == 0 || end == width || y == 0 || y + 1 == mask.height() {
                outside[gaps.root[gap] as usize] = true;
            }
        }
    }
    // nodes of the tree: regions, then holes, then what is outside; a child put in front of its siblings
    let holes: Vec<u32> =
        (0..gaps.spans.len()).filter(|&g| gaps.root[g] as usize == g && !outside[g]).map(|g| g as u32).collect();
    let mut hole_number = vec![NOTHING; gaps.spans.len()];
    holes.iter().enumerate().for_each(|(i, &g)| hole_number[g as usize] = (count + i) as u32);
    let top = count + holes.len();
    let mut first_child = vec![NOTHING; top + 1];
    let mut next_sibling = vec![NOTHING; top];
    let mut borders = Vec::with_capacity(top);
    let mut adopt = |parent: usize, child: usize| {
        next_sibling[child] = std::mem::replace(&mut first_child[parent], child as u32);
    };
    runs.for_each_root(|y, run| {
        let (region, x) = (number[run] as usize, runs.spans[run].0);
        borders.push(Border { x: x as usize, y, hole: false, region });
        // the gap to the left
        let parent = if x == 0 {
            top
        } else {
            let starts_inside = runs.spans[runs.rows[y]].0 == 0;
            let gap = gaps.rows[y] + (run - runs.rows[y]) - usize::from(starts_inside);
            match hole_number[gaps.root[gap] as usize] {
                NOTHING => top,
                hole => hole as usize,
            }
        };
        adopt(parent, region);
    });
    gaps.for_each_root(|y, gap| {
        if outside[gap] {
            return;
        }
        // the run to the left
        let starts_inside = runs.spans[runs.rows[y]].0 == 0;
        let run = runs.rows[y] + (gap - gaps.rows[y]) - usize::from(!starts_inside);
        let region = number[runs.root[run] as usize] as usize;
        borders.push(Border { x: gaps.spans[gap].0 as usize - 1, y, hole: true, region });
        adopt(region, hole_number[gap] as usize);
    });
    let mut ordered = Vec::with_capacity(top);
    let mut waiting = vec![first_child[top]];
    while let Some(node) = waiting.pop() {
        if node != NOTHING {
            ordered.push(borders[node as usize]);
            waiting.extend([next_sibling[node as usize], first_child[node as usize]]);
        }
    }
    ordered
}

/// Steps to the neighbours, counter-clockwise on the screen from the right one.
const STEPS: [(isize, isize); 8] = [(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)];

/// Follows a border from its first pixel until it is back, and calls `visit(x, y)` at every pixel; pixels may come again.
pub fn follow(mask: &BitMask, border: Border, mut visit: impl FnMut(usize, usize)) {
    let start = (border.x as isize, border.y as isize);
    let step = |(x, y): (isize, isize), d: usize| (x + STEPS[d & 7].0, y + STEPS[d & 7].1);
    let inside = |p: (isize, isize)| mask.get(p.0, p.1);
    // what is not inside lies to the left of an outer border's first pixel, to the right of a hole's
    let empty = if border.hole { 0 } else { 4 };
    let Some(clockwise) = (1..8).map(|i| empty + 8 - i).find(|&d| inside(step(start, d))) else {
        visit(border.x, border.y);
        return;
    };
    let last = step(start, clockwise);
    let (mut at, mut came_from) = (start, clockwise & 7);
    loop {
        let Some(next) = (1..=8).map(|i| came_from + i).find(|&d| inside(step(at, d))) else { return };
        visit(at.0 as usize, at.1 as usize);
        let to = step(at, next);
        if to == start && at == last {
            return;
        }
        came_from = (next + 4) & 7;
        at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plane;

    /// What `findContours` with `RETR_TREE` and `CHAIN_APPROX_NONE` of OpenCV 4.12 gives: first pixel, whether a hole,
    /// pixels, and a sum over them that tells their order.
    #[test]
    fn equals_opencv() {
        let rows = [
            "###..#.##.....######......####...........###",
            "##..##......#######........###.####.....####",
            "...#####....########.####...########......##",
            "..#######################....###..##.####...",
            "####################..####....###....#####..",
            "#.####............##...#....#####....##.....",
            "..#.##............##...###..#######..####...",
            "....##..########..##...####......########...",
            "....##..########..#######.##.....#########..",
            "...###..##....##..#####.####.#..#######..#..",
            "...###..########..####..####.#..######....##",
            "...###..########..###.....##.#......##....##",
            "....##............###......##........#.##...",
            "##..##............####....####......#####...",
            "....####################.#####......#####...",
            "....################..##..####......#######.",
            "......#......##..##...##....#.......###..##.",
            "#..#.............#...###.....##.#..####...#.",
        ];
        let data: Vec<u8> = rows.iter().flat_map(|r| r.bytes()).map(|b| u8::from(b == b'#')).collect();
        let mask = BitMask::above(Plane::new(&data, rows[0].len(), rows.len()).unwrap(), 0);
        let regions = Regions::new(&mask);
        let ours: Vec<(usize, usize, bool, usize, u32)> = (regions.borders().iter())
            .map(|&border| {
                let (mut pixels, mut sum) = (0, 0u32);
                follow(&mask, border, |x, y| {
                    pixels += 1;
                    sum = sum.wrapping_add((pixels * (1000 * x + y)) as u32);
                });
                (border.x, border.y, border.hole, pixels, sum)
            })
            .collect();
        let theirs = [
            (32, 17, false, 1, 32017),
            (3, 17, false, 1, 3017),
            (0, 17, false, 1, 17),
            (0, 13, false, 2, 2039),
            (41, 0, false, 8, 1522029),
            (26, 0, false, 91, 150523929),
            (7, 0, false, 2, 23000),
            (5, 0, false, 112, 124938032),
            (24, 8, true, 4, 252082),
            (5, 5, true, 42, 9438555),
            (8, 7, false, 22, 3104145),
            (9, 9, true, 10, 645515),
            (19, 4, true, 13, 1873575),
            (0, 0, false, 5, 16005),
        ];
        assert_eq!(ours, theirs);
        assert_eq!(regions.count, theirs.iter().filter(|b| !b.2).count());
    }

    #[test]
    fn touched_regions() {
        let mut mask = BitMask::new(200, 3);
        let mut other = mask.clone();
        (10..140).for_each(|x| mask.set(x, 1));
        mask.set(160, 0);
        other.set(139, 1);
        other.set(159, 0);
        assert_eq!(Regions::new(&mask).touched_by(&other), [false, true]);
        assert_eq!(Regions::new(&BitMask::new(5, 5)).count, 0);
    }
}
