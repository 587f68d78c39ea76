//! Connected regions of a foreground.

use crate::bits::BitMask;
use crate::prepare::Foreground;
use crate::runs::Runs;

/// A region: its pixels and the rectangle around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) area: u64,
    /// First column and row, and those behind the last.
    pub(crate) bounds: [usize; 4],
}

/// The 4-connected regions, in the order of their first pixels.
pub(crate) fn regions4(gt: Foreground<'_>) -> Vec<Region> {
    let mut runs = Runs::new(&BitMask::from_fn(gt.plane(), |level| gt.holds(level)), true);
    runs.connect(0);
    let mut regions: Vec<Region> = Vec::new();
    let mut number = vec![0; runs.spans.len()];
    // a component's first run comes before its others
    runs.for_each(|y, run| {
        let (start, end, root) = (runs.spans[run].0 as usize, runs.spans[run].1 as usize, runs.root[run] as usize);
        if root == run {
            number[run] = regions.len();
            regions.push(Region { area: 0, bounds: [start, y, end, y] });
        }
        let Region { area, bounds: [x0, _, x1, y1] } = &mut regions[number[root]];
        *area += (end - start) as u64;
        (*x0, *x1, *y1) = ((*x0).min(start), (*x1).max(end), y + 1);
    });
    regions
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
