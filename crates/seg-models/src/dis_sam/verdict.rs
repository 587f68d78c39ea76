//! How the stages of `sam+isnet` agree, and whose answer counts.

use seg_data::geometry::extent;

use super::agreement::{iou, share, support};
use super::sight::{Sight, Surroundings};
use super::two_stage::{CoarseMask, Refinement};
use crate::error::{Error, Result};
use crate::is_net::ProbabilityMap;
use crate::promptable::Point;

/// A candidate agrees with what the second stage sees from this IoU on: the right ones have 0.5 (spokes, lattices) to 0.95.
pub(super) const AGREES: f64 = 0.5;
/// From this IoU on they are the same object so surely that what only the second stage sees of it is taken, too.
pub(super) const SAME: f64 = 0.75;
/// The second stage sees an object of which at least this share lies in the outline of what it sees.
const SEES: f64 = 0.5;
/// What the second stage sees is what the user's box is about when its extent and the box have this IoU.
const FILLS: f64 = 0.75;
/// A photo shows one object where it is at least this share of all that the second stage sees.
pub(super) const ALONE: f64 = 0.9;

/// Whose answer an exact mask is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The coarse mask, made exact by what the second stage sees.
    Both,
    /// What the second stage sees in the user's box, and fills it: the first has found something else there.
    SecondStage,
    /// The coarse mask as it is: the second stage does not see the object.
    FirstStage,
    /// All that the second stage sees: the photo shows one object, as the first stage has it, too, and the clicks are on it.
    OneObject,
}

/// How the two stages of `sam+isnet` agreed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Whose answer the exact mask is.
    pub source: Source,
    /// Intersection over union of the coarse mask and of what the second stage sees where it looked; where that is the connected parts
    /// under clicks, with gaps as they are or filled, whichever is more.
    pub agreement: f64,
    /// The same of the first stage's likeliest candidate, seen from near, where it was taken for a part of what is meant, or does not
    /// agree, and another was taken.
    pub passed_over: Option<f64>,
}

/// A coarse mask, how well it agrees with what is seen, and how well the likeliest candidate did that was passed over for it.
#[derive(Clone)]
pub(super) struct Chosen {
    pub coarse: CoarseMask,
    pub agreement: f64,
    pub passed_over: Option<f64>,
}

/// The candidate of the highest agreement, if it agrees at all, else the likeliest; the first of equals.
pub(super) fn choose(candidates: Vec<CoarseMask>, agree: impl Fn(&CoarseMask) -> Result<f64>) -> Result<Chosen> {
    let agreements = candidates.iter().map(agree).collect::<Result<Vec<f64>>>()?;
    let first_highest = |values: Vec<f64>| (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b]));
    let likeliest = candidates.iter().map(|c| c.predicted_iou.map_or(0., f64::from)).collect();
    let (Some(likeliest), Some(best)) = (first_highest(likeliest), first_highest(agreements.clone())) else {
        return Err(Error::EmptyMask { what: "coarse mask" });
    };
    let taken = if agreements[best] >= AGREES { best } else { likeliest };
    let passed_over = (taken != likeliest && agreements[likeliest] < AGREES).then_some(agreements[likeliest]);
    let agreement = agreements[taken];
    let coarse = candidates.into_iter().nth(taken).ok_or(Error::EmptyMask { what: "coarse mask" })?;
    Ok(Chosen { coarse, agreement, passed_over })
}

/// The mask made exact by what IS-Net sees; where it sees something else, that in the user's box if it fills it, and else the
/// coarse mask as it is.
pub(super) fn settle(
    surroundings: &Surroundings,
    points: &[Point],
    chosen: Chosen,
    sight: &Sight,
    bbox: Option<[u32; 4]>,
) -> Result<Refinement> {
    let Chosen { coarse, agreement, passed_over } = chosen;
    let (seen, part) = (&sight.seen, sight.part(&coarse.mask));
    let found = extent(&seen.inside, seen.size.0, seen.size.1)?;
    let fills = bbox.zip(found).is_some_and(|(bbox, found)| overlap(sight.local(bbox), found) >= FILLS);
    let sees = share(&part, &seen.filled()?) >= SEES;
    let (source, probability) = if sees {
        // what goes on outside of the user's box is not the object's own, but a neighbour's
        let same = agreement >= SAME && (bbox.is_none() || iou(&part, &sight.everything) >= SAME);
        let support = support(&part, &sight.map, seen, same, &sight.clicks(points, false))?;
        (Source::Both, sight.counted(&support, surroundings.reach(coarse.bbox))?)
    } else if let (true, Some(bbox)) = (fills, bbox) {
        (Source::SecondStage, sight.counted(seen, surroundings.reach(bbox))?)
    } else {
        let values = coarse.mask.as_raw().iter().map(|&v| f32::from(u8::from(v != 0))).collect();
        (Source::FirstStage, ProbabilityMap::new(values, coarse.mask.dimensions())?)
    };
    Ok(Refinement { coarse, probability, verdict: Some(Verdict { source, agreement, passed_over }) })
}

/// All that IS-Net sees in a photo of one object, and what it sees faintly around that.
pub(super) fn one_object(surroundings: &Surroundings, chosen: Chosen, scene: &Sight) -> Result<Refinement> {
    let Chosen { coarse, agreement, passed_over } = chosen;
    let found = extent(&scene.seen.inside, scene.seen.size.0, scene.seen.size.1)?.unwrap_or(coarse.bbox);
    let probability = scene.counted(&scene.seen, surroundings.reach(found))?;
    Ok(Refinement { coarse, probability, verdict: Some(Verdict { source: Source::OneObject, agreement, passed_over }) })
}

/// Intersection over union of two boxes.
fn overlap(a: [u32; 4], b: [u32; 4]) -> f64 {
    let side = |from: u32, to: u32| f64::from(to.saturating_sub(from));
    let area = |[x0, y0, x1, y1]: [u32; 4]| side(x0, x1) * side(y0, y1);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    both / (area(a) + area(b) - both).max(1.)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_data::GrayImage;

    const SIZE: (u32, u32) = (12, 8);
    const REACH: Surroundings = Surroundings { padding: 0.1, reach: 0.1 };

    /// A coarse mask of a box less another, with its predicted IoU.
    fn coarse([x0, y0, x1, y1]: [u32; 4], [u0, v0, u1, v1]: [u32; 4], predicted_iou: f32) -> CoarseMask {
        let inside = |x, y| {
            let gap = (u0..u1).contains(&x) && (v0..v1).contains(&y);
            u8::from((x0..x1).contains(&x) && (y0..y1).contains(&y) && !gap) * 255
        };
        let mask = GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| [inside(x, y)].into());
        CoarseMask { mask, bbox: [x0, y0, x1, y1], predicted_iou: Some(predicted_iou), candidate: Some(0) }
    }

    /// The second stage sees this box of the image with this probability, and nothing else.
    fn sight([x0, y0, x1, y1]: [u32; 4], p: f32) -> Sight {
        let seen = |i: u32| (x0..x1).contains(&(i % SIZE.0)) && (y0..y1).contains(&(i / SIZE.0));
        let map = (0..SIZE.0 * SIZE.1).map(|i| if seen(i) { p } else { 0. }).collect();
        Sight::of_map(map, [0, 0, SIZE.0, SIZE.1], SIZE)
    }

    fn settled(coarse: CoarseMask, agreement: f64, sight: &Sight, bbox: Option<[u32; 4]>) -> (Source, Vec<f32>) {
        let chosen = Chosen { coarse, agreement, passed_over: None };
        let refined = settle(&REACH, &[], chosen, sight, bbox).unwrap();
        (refined.verdict.unwrap().source, refined.probability.values().to_vec())
    }

    const NONE: [u32; 4] = [0; 4];

    #[test]
    fn the_candidate_that_agrees_or_else_the_likeliest() {
        let take = |agreements: [f64; 3]| {
            let all = [0.8, 0.9, 0.7].map(|iou| coarse([1, 1, 5, 5], NONE, iou));
            let chosen = choose(all.to_vec(), |c| {
                let which = [0.8, 0.9, 0.7].iter().position(|&iou| c.predicted_iou == Some(iou)).unwrap();
                Ok(agreements[which])
            });
            let Chosen { coarse, agreement, passed_over } = chosen.unwrap();
            (coarse.predicted_iou.unwrap(), agreement, passed_over)
        };
        assert_eq!(take([0., 0., 0.93]), (0.7, 0.93, Some(0.)), "two bags: the likeliest are the table");
        assert_eq!(take([0., 0.6, 0.93]), (0.7, 0.93, None), "both agree, one better");
        assert_eq!(take([0.9, 0.1, 0.9]), (0.8, 0.9, Some(0.1)), "the first of equals");
        assert_eq!(take([0., 0.1, 0.49]), (0.9, 0.1, None), "none agrees");
        assert!(choose(Vec::new(), |_| Ok(1.)).is_err());
    }

    #[test]
    fn a_gap_that_is_seen_with_certainty_is_filled() {
        let object = [1, 1, 11, 7];
        let holed = |p| settled(coarse(object, [4, 3, 8, 5], 0.9), 0.6, &sight(object, p), None);
        let (source, map) = holed(1.);
        assert_eq!((source, map), (Source::Both, sight(object, 1.).map), "the saucer");
        // a hole in what is not certain: within reach of its rim only
        let (source, map) = holed(0.8);
        let at = |x: usize, y: usize| map[y * SIZE.0 as usize + x];
        assert_eq!((source, at(2, 2), at(4, 3)), (Source::Both, 0.8, 0.8));
        let (_, map) = settled(coarse([0, 0, 12, 8], [2, 1, 10, 7], 0.9), 0.6, &sight([0, 0, 12, 8], 0.8), None);
        assert_eq!(map[4 * SIZE.0 as usize + 6], 0.);
    }

    #[test]
    fn what_only_the_second_stage_sees_counts_where_they_surely_agree() {
        let seen = sight([1, 1, 11, 7], 0.9);
        let beside = |agreement| settled(coarse([1, 1, 7, 7], NONE, 0.9), agreement, &seen, None).1[3 * 12 + 10];
        assert_eq!((beside(0.6), beside(0.8)), (0., 0.9));
        // in a box only if it does not go on outside of it
        let inside = |seen: [u32; 4]| {
            let bbox = [0, 0, 9, 8];
            settled(coarse([1, 1, 7, 7], NONE, 0.9), 0.75, &sight(seen, 0.9).within(bbox), Some(bbox)).1[3 * 12 + 8]
        };
        assert_eq!((inside([1, 1, 9, 7]), inside([1, 1, 11, 7])), (0.9, 0.));
    }

    #[test]
    fn the_second_stage_alone_in_a_box_that_it_fills() {
        let (object, ground) = ([3, 2, 9, 6], coarse([0, 0, 12, 8], [3, 2, 9, 6], 0.98));
        let seen = sight(object, 0.9);
        assert_eq!(settled(ground.clone(), 0., &seen, Some(object)), (Source::SecondStage, seen.map.clone()));
        // it does not fill the box, or there is none: what it sees is another object
        let whole: Vec<f32> = ground.mask.as_raw().iter().map(|&v| f32::from(v) / 255.).collect();
        for bbox in [None, Some([0, 0, 12, 8]), Some([0, 0, 5, 8])] {
            assert_eq!(settled(ground.clone(), 0., &seen, bbox), (Source::FirstStage, whole.clone()), "{bbox:?}");
        }
        let blind = sight(NONE, 1.);
        assert_eq!(settled(ground, 0., &blind, Some(object)).0, Source::FirstStage);
    }

    #[test]
    fn boxes() {
        assert_eq!(overlap([0, 0, 4, 2], [0, 0, 4, 2]), 1.);
        assert_eq!(overlap([0, 0, 4, 2], [2, 0, 6, 2]), 1. / 3.);
        assert_eq!(overlap([0, 0, 2, 2], [3, 3, 4, 4]), 0.);
    }
}
