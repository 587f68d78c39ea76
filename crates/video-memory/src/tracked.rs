//! Which frames were tracked, and which way.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::bank::Direction;

/// The frames that were tracked, with the direction of the last time: as runs, so that a long video takes no more room than
/// a short one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackedFrames {
    /// By their first frame; neighbouring runs differ in direction.
    runs: BTreeMap<usize, (usize, Direction)>,
}

impl TrackedFrames {
    /// Marks `frame`.
    pub fn insert(&mut self, frame: usize, direction: Direction) {
        if self.get(frame) == Some(direction) {
            return;
        }
        self.remove(frame);
        let (mut start, mut end) = (frame, frame + 1);
        if let Some((range, _)) = frame.checked_sub(1).and_then(|f| self.run(f)).filter(|(_, d)| *d == direction) {
            start = range.start;
        }
        if let Some((range, _)) = self.run(end).filter(|(_, d)| *d == direction) {
            self.runs.remove(&range.start);
            end = range.end;
        }
        self.runs.insert(start, (end, direction));
    }

    /// Puts in a run of frames none of which is there, nor next to one that is.
    pub fn extend(&mut self, frames: Range<usize>, direction: Direction) {
        if frames.start < frames.end {
            self.runs.insert(frames.start, (frames.end, direction));
        }
    }

    /// Forgets `frame`.
    pub fn remove(&mut self, frame: usize) {
        let Some((range, direction)) = self.run(frame) else { return };
        self.runs.remove(&range.start);
        if range.start < frame {
            self.runs.insert(range.start, (frame, direction));
        }
        if frame + 1 < range.end {
            self.runs.insert(frame + 1, (range.end, direction));
        }
    }

    /// Which way `frame` was tracked, if it was.
    pub fn get(&self, frame: usize) -> Option<Direction> {
        self.run(frame).map(|(_, direction)| direction)
    }

    /// The runs in order.
    pub fn runs(&self) -> impl Iterator<Item = (Range<usize>, Direction)> + '_ {
        self.runs.iter().map(|(&start, &(end, direction))| (start..end, direction))
    }

    fn run(&self, frame: usize) -> Option<(Range<usize>, Direction)> {
        let (&start, &(end, direction)) = self.runs.range(..=frame).next_back()?;
        (frame < end).then_some((start..end, direction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Backward, Forward};

    #[test]
    fn runs_join_and_split() {
        let mut tracked = TrackedFrames::default();
        for frame in [3, 4, 6, 5, 5] {
            tracked.insert(frame, Forward);
        }
        assert_eq!(tracked.runs().collect::<Vec<_>>(), [(3..7, Forward)]);
        tracked.insert(4, Backward);
        assert_eq!(tracked.runs().collect::<Vec<_>>(), [(3..4, Forward), (4..5, Backward), (5..7, Forward)]);
        tracked.insert(3, Backward);
        tracked.remove(6);
        assert_eq!(tracked.runs().collect::<Vec<_>>(), [(3..5, Backward), (5..6, Forward)]);
        assert_eq!((tracked.get(4), tracked.get(5), tracked.get(6)), (Some(Backward), Some(Forward), None));
        tracked.insert(usize::MAX - 1, Forward);
        assert_eq!(tracked.get(0), None);
    }
}
