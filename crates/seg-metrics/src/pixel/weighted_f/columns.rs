//! How many rows away a column's nearest foreground is.

use std::ops::Range;

use rayon::prelude::*;

use crate::plane::Plane;
use crate::wide::{Wide, widest};

/// So many rows and more, or no foreground at all.
pub(super) const FAR: u8 = 255;

/// What each column has outside a range of rows: how far behind the range's first row and its last row foreground lies, 0 for
/// a pixel right there.
pub(super) struct Outside {
    pub(super) above: Vec<u8>,
    pub(super) below: Vec<u8>,
}

/// The outsides of ranges that follow each other; they may overlap.
pub(super) fn outside(truth: Plane<'_>, first: u8, ranges: &[Range<usize>]) -> Vec<Outside> {
    let far = || vec![FAR; truth.width()];
    let swept = |rows: &mut dyn Iterator<Item = usize>| {
        let mut away = far();
        rows.for_each(|y| widest(Next { truth: truth.row(y), first, away: &mut away }));
        away
    };
    // first of the rows between the ends of one range and the next
    let mut found: Vec<Outside> = (0..ranges.len())
        .into_par_iter()
        .map(|i| {
            let above = ranges[i.saturating_sub(1)].start..ranges[i].start;
            let below = ranges[i].end..ranges[(i + 1).min(ranges.len() - 1)].end;
            Outside { above: swept(&mut above.into_iter()), below: swept(&mut below.rev()) }
        })
        .collect();
    for i in 1..ranges.len() {
        let rows = ranges[i].start - ranges[i - 1].start;
        let [.., before, at] = &mut found[..=i] else { unreachable!("there are two") };
        farther(&before.above, rows, &mut at.above);
    }
    for i in (1..ranges.len()).rev() {
        let rows = ranges[i].end - ranges[i - 1].end;
        let [at, behind, ..] = &mut found[i - 1..] else { unreachable!("there are two") };
        farther(&behind.below, rows, &mut at.below);
    }
    found
}

/// Takes into account what lies some rows farther.
fn farther(from: &[u8], rows: usize, to: &mut [u8]) {
    let rows = u8::try_from(rows).unwrap_or(FAR);
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.saturating_add(rows).min(*to));
}

/// Goes on by a row: from how far each column's last foreground is from the row before to how far it is from this one.
pub(super) struct Next<'a> {
    pub(super) truth: &'a [u8],
    /// Where the foreground begins.
    pub(super) first: u8,
    pub(super) away: &'a mut [u8],
}

impl Wide for Next<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (away, truth) in self.away.iter_mut().zip(self.truth) {
            *away = if *truth >= self.first { 0 } else { away.saturating_add(1) };
        }
    }
}
