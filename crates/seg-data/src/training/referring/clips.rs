//! Which frames of a video a clip has.

use crate::training::Dice;

/// How frames are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipFrames {
    /// ClipFrames of a clip.
    pub count: usize,
    /// From which frame to which a clip's middle one moves on: the authors take as many as a clip has.
    pub step: usize,
}

impl ClipFrames {
    /// As the authors: middle frames as far apart as a clip is long.
    pub fn of(count: usize) -> Self {
        Self { count, step: count }
    }
}

/// The frames of a clip: the middle one, one up to three before and one up to three behind it, and others from before and behind these.
pub(super) fn choose(middle: usize, of: usize, count: usize, dice: &mut Dice) -> Vec<usize> {
    let mut chosen = vec![middle];
    if count > 1 {
        let (before, behind) = (1 + dice.below(3) as usize, 1 + dice.below(3) as usize);
        chosen.extend([middle.saturating_sub(before), (middle + behind).min(of - 1)]);
    }
    if count > chosen.len() {
        let (first, last) = (chosen.iter().min().copied(), chosen.iter().max().copied());
        let (first, last) = (first.unwrap_or(middle), last.unwrap_or(middle));
        let wanted = count - chosen.len();
        let mut others: Vec<usize> = (0..first).chain(last..of).collect();
        if others.len() <= wanted {
            others = (0..of).collect();
        }
        // short videos: frames come several times
        let whole = others.len();
        while others.len() < wanted {
            others.extend_from_within(..whole.min(wanted - others.len()));
        }
        dice.shuffle(&mut others);
        chosen.extend(&others[..wanted]);
    }
    chosen.truncate(count);
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Place;

    #[test]
    fn clips_are_in_order_around_their_middle() {
        for (index, (middle, of, count)) in
            [(5, 30, 5), (0, 30, 5), (29, 30, 8), (2, 4, 8), (0, 1, 5), (3, 9, 1), (3, 9, 3)].into_iter().enumerate()
        {
            let mut dice = Dice::new(Place { seed: 1, epoch: 0, index: index as u64 }, "clip");
            let chosen = choose(middle, of, count, &mut dice);
            assert!(chosen.len() == count && chosen.is_sorted() && chosen.contains(&middle), "{chosen:?}");
            assert!(chosen.iter().all(|i| *i < of), "{chosen:?} of {of}");
            if count > 1 {
                assert!(
                    chosen
                        .iter()
                        .any(|i| *i >= middle.saturating_sub(3) && *i <= middle && (*i < middle || middle == 0))
                );
            }
            if of > 2 * count {
                let mut once = chosen.clone();
                once.dedup();
                // the last of the span may come again, as in the original
                assert!(once.len() + 2 >= count, "{chosen:?}");
            }
        }
    }
}
