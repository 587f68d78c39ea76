//! Connected regions of a foreground.

use crate::prepare::Foreground;

/// A region: its pixels and the rectangle around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) area: u64,
    /// First column and row, and those behind the last.
    pub(crate) bounds: [usize; 4],
}

/// The 4-connected regions, in the order of their first pixels.
pub(crate) fn regions4(gt: Foreground<'_>) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut parents: Vec<usize> = Vec::new();
    // runs of the row above: first column, the one behind the last, region
    let mut above: Vec<(usize, usize, usize)> = Vec::new();
    let mut row_runs = Vec::new();
    for (y, row) in gt.plane().rows().enumerate() {
        row_runs.clear();
        let mut next = 0;
        let mut x = 0;
        while let Some(start) = row[x..].iter().position(|&t| gt.holds(t)).map(|n| x + n) {
            let end = row[start..].iter().position(|&t| !gt.holds(t)).map_or(row.len(), |n| start + n);
            let new = Region { area: (end - start) as u64, bounds: [start, y, end, y + 1] };
            let id = regions.len();
            regions.push(new);
            parents.push(id);
            while above.get(next).is_some_and(|run| run.1 <= start) {
                next += 1;
            }
            let mut touching = next;
            while let Some(&(from, _, other)) = above.get(touching).filter(|run| run.0 < end) {
                debug_assert!(from < end);
                join(&mut parents, &mut regions, id, other);
                touching += 1;
            }
            row_runs.push((start, end, id));
            x = end;
        }
        std::mem::swap(&mut above, &mut row_runs);
    }
    (0..regions.len()).filter(|&id| parents[id] == id).map(|id| regions[id]).collect()
}

fn root(parents: &mut [usize], mut id: usize) -> usize {
    while parents[id] != id {
        parents[id] = parents[parents[id]];
        id = parents[id];
    }
    id
}

/// Makes one region of two, under the earlier number.
fn join(parents: &mut [usize], regions: &mut [Region], a: usize, b: usize) {
    let (a, b) = (root(parents, a), root(parents, b));
    if a == b {
        return;
    }
    let (kept, gone) = (a.min(b), a.max(b));
    parents[gone] = kept;
    let Region { area, bounds: [x0, y0, x1, y1] } = regions[gone];
    let region = &mut regions[kept];
    let [a0, b0, a1, b1] = region.bounds;
    *region = Region { area: region.area + area, bounds: [a0.min(x0), b0.min(y0), a1.max(x1), b1.max(y1)] };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plane, protocol::GtRule};

    #[test]
    fn diagonal_neighbours_are_apart_and_forks_join() {
        let rows = ["#.#..#", "###.#.", "......", "#....."];
        let pixels: Vec<u8> = rows.concat().bytes().map(|b| if b == b'#' { 255 } else { 0 }).collect();
        let gt = Foreground::new(Plane::new(&pixels, 6, 4).unwrap(), GtRule::Above(128));
        let found: Vec<_> = regions4(gt).iter().map(|r| (r.area, r.bounds)).collect();
        assert_eq!(found, [(5, [0, 0, 3, 2]), (1, [5, 0, 6, 1]), (1, [4, 1, 5, 2]), (1, [0, 3, 1, 4])]);
    }
}
