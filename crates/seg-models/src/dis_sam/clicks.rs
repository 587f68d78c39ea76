//! What clicks mean to `sam+isnet`: a part, an object, or one of several.

use seg_data::geometry::extent;

use super::agreement::{iou, share};
use super::sight::{Sight, Surroundings};
use super::two_stage::{CoarseMask, Refinement};
use super::verdict::{AGREES, ALONE, Chosen, SAME, choose, one_object, settle};
use crate::error::Result;
use crate::promptable::Point;

/// The first stage, asked for the very box of what the second one sees, shows the same object from this IoU on. It tends to fill a
/// box, that of a group of objects, too: most groups had 0.49 to 0.84 (things that touch up to 0.97), single objects 0.81 to 0.99.
/// Where IS-Net does not see the likeliest candidate at all, `SAME` is enough.
const CONFIRMED: f64 = 0.85;
/// A part of an object that both stages see is one of its own (a bag in a car) where IS-Net, from near, sees just that from this IoU
/// on. Bags, cars, butterflies had 0.95 to 0.97; sails, lampshades, pockets 0 to 0.93, a door 0.95.
const STANDS_ALONE: f64 = 0.94;

/// The likeliest candidate is what the clicks mean, unless it is a part of an object that both stages see.
///
/// What IS-Net sees under the clicks in the whole image is an object where the first stage shows it, too: as a candidate, or when asked
/// for its box (`ask_for`, with clicks or without). It is meant, unless IS-Net, from near (`look`), sees the likeliest candidate as
/// an object of its own. Where there is no such object, the likeliest is meant if IS-Net sees it from near; else the candidate that
/// shows what IS-Net sees; and else the likeliest.
pub(super) fn at_clicks(
    surroundings: &Surroundings,
    size: (u32, u32),
    points: &[Point],
    candidates: Vec<CoarseMask>,
    look: impl Fn([u32; 4]) -> Result<Sight>,
    ask_for: impl Fn([u32; 4], &[Point]) -> Result<Vec<CoarseMask>>,
) -> Result<Refinement> {
    let settle = |chosen, sight: &Sight| settle(surroundings, points, chosen, sight, None);
    let scene = look([0, 0, size.0, size.1])?;
    let not = scene.clicks(points, false);
    let object = scene.seen.clicked(&scene.clicks(points, true), &not)?;
    let outline = object.filled()?;
    // coarse masks fill what is between spokes, but not what a handle encloses
    let agree = |c: &CoarseMask| {
        let part = scene.part(&c.mask);
        Ok(iou(&part, &object).max(iou(&part.filled()?, &outline)))
    };

    // the first stage does not always heed what is clicked away
    let heeds = |c: &CoarseMask| not.iter().all(|&(x, y)| c.mask.get_pixel(x, y).0[0] == 0);
    let any = candidates.iter().any(heeds);
    let candidates: Vec<CoarseMask> = candidates.into_iter().filter(|c| !any || heeds(c)).collect();

    let likeliest = choose(candidates.clone(), |_| Ok(0.))?.coarse;
    let agreement = agree(&likeliest)?;
    let alone = share(&scene.seen, &object) >= ALONE;
    if alone && agreement >= SAME {
        return one_object(surroundings, Chosen { coarse: likeliest, agreement, passed_over: None }, &scene);
    }

    let closer;
    let near = if surroundings.window(likeliest.bbox, size) == scene.window {
        &scene
    } else {
        closer = look(likeliest.bbox)?;
        &closer
    };
    let close = iou(&near.part(&likeliest.mask), &near.seen);
    let shown = choose(candidates, agree)?;
    let part = agreement < SAME && close < STANDS_ALONE;
    if let (true, Some(bbox)) = (part, extent(&object.inside, size.0, size.1)?) {
        let enough = if close < AGREES { SAME } else { CONFIRMED };
        let mut whole = Chosen { passed_over: Some(close), ..shown.clone() };
        for points in [points, &[]] {
            if whole.agreement < enough {
                let Chosen { coarse, agreement, .. } = choose(ask_for(bbox, points)?, agree)?;
                whole = Chosen { coarse: CoarseMask { candidate: None, ..coarse }, agreement, ..whole };
            }
        }
        if whole.agreement >= enough {
            return if alone { one_object(surroundings, whole, &scene) } else { settle(whole, &scene) };
        }
    }
    if close < SAME && shown.agreement >= SAME {
        let passed_over = (shown.coarse.candidate != likeliest.candidate).then_some(close);
        return settle(Chosen { passed_over, ..shown }, &scene);
    }
    settle(Chosen { coarse: likeliest, agreement: close, passed_over: None }, near)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::dis_sam::{Source, Verdict};
    use seg_data::GrayImage;

    const SIZE: (u32, u32) = (40, 24);
    const NO_PADDING: Surroundings = Surroundings { padding: 0., reach: 0.05 };
    /// An object, and a thing on it.
    const OBJECT: [u32; 4] = [4, 4, 24, 20];
    const THING: [u32; 4] = [8, 8, 14, 14];
    /// Another object.
    const OTHER: [u32; 4] = [28, 4, 38, 20];

    fn inside([x0, y0, x1, y1]: [u32; 4], i: u32) -> bool {
        (x0..x1).contains(&(i % SIZE.0)) && (y0..y1).contains(&(i / SIZE.0))
    }

    fn map(boxes: &[[u32; 4]]) -> Vec<f32> {
        (0..SIZE.0 * SIZE.1).map(|i| if boxes.iter().any(|&b| inside(b, i)) { 1. } else { 0. }).collect()
    }

    /// A candidate of one or several boxes.
    fn found(boxes: &[[u32; 4]], predicted_iou: f32) -> CoarseMask {
        let levels = map(boxes).into_iter().map(|v| 255 * v as u8).collect();
        let mask = GrayImage::from_raw(SIZE.0, SIZE.1, levels).unwrap();
        let bbox = extent(mask.as_raw(), SIZE.0, SIZE.1).unwrap().unwrap();
        CoarseMask { mask, bbox, predicted_iou: Some(predicted_iou), candidate: Some(0) }
    }

    fn click(x: f32, y: f32, positive: bool) -> Point {
        Point { x, y, positive }
    }

    /// What IS-Net sees in the whole image and from near, and what the first stage answers to the clicks, to a box and clicks, and to
    /// a box.
    struct Case {
        scene: Vec<[u32; 4]>,
        near: Vec<[u32; 4]>,
        answers: Vec<CoarseMask>,
        asked: [[u32; 4]; 2],
    }

    impl Case {
        /// A photo of the object, in which the first stage finds the thing first. From near IS-Net does not see it.
        fn one_object() -> Self {
            Self {
                scene: vec![OBJECT],
                near: vec![],
                answers: vec![found(&[THING], 0.9), found(&[OBJECT], 0.8)],
                asked: [THING, THING],
            }
        }

        /// The verdict, the map, and how often IS-Net looked.
        fn decide(&self, points: &[Point]) -> (Verdict, Vec<f32>, usize) {
            let looks = RefCell::new(0);
            let look = |[x0, y0, x1, y1]: [u32; 4]| {
                *looks.borrow_mut() += 1;
                let window = NO_PADDING.window([x0, y0, x1, y1], SIZE);
                let seen = map(if window == [0, 0, SIZE.0, SIZE.1] { &self.scene } else { &self.near });
                let held = (0..SIZE.0 * SIZE.1).filter(|&i| inside(window, i)).map(|i| seen[i as usize]).collect();
                Ok(Sight::of_map(held, window, SIZE))
            };
            let ask_for = |_, points: &[Point]| Ok(vec![found(&[self.asked[usize::from(points.is_empty())]], 0.9)]);
            let refined = at_clicks(&NO_PADDING, SIZE, points, self.answers.clone(), look, ask_for).unwrap();
            (refined.verdict.unwrap(), refined.probability.values().to_vec(), looks.into_inner())
        }
    }

    const ON_THING: Point = Point { x: 10.5, y: 10.5, positive: true };

    #[test]
    fn a_click_on_a_part_of_the_only_object_means_the_object() {
        let case = Case::one_object();
        let (verdict, shown, looks) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.agreement, verdict.passed_over), (Source::OneObject, 1., Some(0.)));
        assert_eq!((shown, looks), (map(&[OBJECT]), 2));
        // a small fragment of what IS-Net sees belongs to it
        let fragment = [30, 10, 33, 14];
        let case = Case { scene: vec![OBJECT, fragment], ..case };
        assert_eq!(case.decide(&[ON_THING]).1, map(&[OBJECT, fragment]));
        // the likeliest is the object: nothing is passed over, and one look is enough
        let case = Case { answers: vec![found(&[THING], 0.8), found(&[OBJECT], 0.9)], ..case };
        let (verdict, _, looks) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.passed_over, looks), (Source::OneObject, None, 1));
    }

    #[test]
    fn the_first_stage_must_show_the_object_too() {
        // only when asked for its box, with the click or without
        for asked in [[OBJECT, THING], [THING, OBJECT]] {
            let case = Case { answers: vec![found(&[THING], 0.9)], asked, ..Case::one_object() };
            assert_eq!(case.decide(&[ON_THING]).0.source, Source::OneObject);
        }
        // 16 of 20 columns: a group, but enough where IS-Net does not see the thing
        let most = [4, 4, 20, 20];
        let case = Case { answers: vec![found(&[THING], 0.9)], asked: [most, most], ..Case::one_object() };
        let (verdict, ..) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.agreement), (Source::OneObject, 0.8));
        let case = Case { near: vec![[8, 8, 14, 12]], ..case };
        let (verdict, shown, _) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.passed_over), (Source::Both, None));
        assert_eq!((shown[9 * 40 + 9], shown[16 * 40 + 20]), (1., 0.), "the thing, not the group");
        // never
        let case = Case { answers: vec![found(&[THING], 0.9)], ..Case::one_object() };
        assert_eq!(case.decide(&[ON_THING]).0.source, Source::FirstStage);
    }

    #[test]
    fn a_thing_on_the_object_that_is_seen_from_near_is_meant() {
        let case = Case { near: vec![THING], ..Case::one_object() };
        let (verdict, shown, _) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.agreement, verdict.passed_over), (Source::Both, 1., None));
        assert_eq!((shown[9 * 40 + 9], shown[16 * 40 + 20]), (1., 0.));
        // five sixths of it are not enough
        let case = Case { near: vec![[8, 8, 14, 13]], ..case };
        assert_eq!(case.decide(&[ON_THING]).0.source, Source::OneObject);
    }

    #[test]
    fn of_several_objects_the_one_under_the_clicks() {
        let case = Case { scene: vec![OBJECT, OTHER], ..Case::one_object() };
        let (verdict, shown, _) = case.decide(&[ON_THING]);
        assert_eq!((verdict.source, verdict.passed_over), (Source::Both, Some(0.)));
        assert_eq!(shown, map(&[OBJECT]));
        // clicks on both mean both
        let case = Case { answers: vec![found(&[THING], 0.9), found(&[OBJECT, OTHER], 0.8)], ..case };
        let (verdict, shown, _) = case.decide(&[ON_THING, click(30., 10., true)]);
        assert_eq!((verdict.source, verdict.agreement), (Source::OneObject, 1.));
        assert_eq!(shown, map(&[OBJECT, OTHER]));
    }

    #[test]
    fn a_negative_click_on_the_object_picks_a_part() {
        let case = Case { near: vec![[8, 8, 14, 12]], ..Case::one_object() };
        let (verdict, shown, _) = case.decide(&[ON_THING, click(20., 16., false)]);
        assert_eq!((verdict.source, verdict.passed_over), (Source::Both, None));
        assert_eq!((shown[9 * 40 + 9], shown[16 * 40 + 20]), (1., 0.));
        // nor is a candidate with that click in it
        let case = Case { answers: vec![found(&[OBJECT], 0.9), found(&[THING], 0.8)], ..case };
        assert_eq!(case.decide(&[ON_THING, click(20., 16., false)]).1[16 * 40 + 20], 0.);
        assert_eq!(case.decide(&[ON_THING, click(20., 16., true)]).0.source, Source::OneObject);
        // not one beside it
        assert_eq!(case.decide(&[ON_THING, click(35., 2., false)]).0.source, Source::OneObject);
    }
}
