//! `sam+isnet`: the original IS-Net, which takes no prompt, in place of DIS-SAM's second stage, and what to do where the two stages
//! do not show the same object.

use seg_data::RgbImage;
use seg_data::geometry::extent;

use super::agreement::iou;
use super::sight::{Sight, Surroundings, grown};
use super::two_stage::{CoarseMask, Refinement};
use super::verdict::{Chosen, SAME, choose, settle};
use crate::error::Result;
use crate::is_net::IsNetPredictor;
use crate::promptable::{ImageEmbedding, Point, PromptableSegmenter, Prompts};

/// The first stage, asked for the very box of what the second one sees, shows the same object from this IoU on. It tends to fill a
/// box, that of a group of objects, too: groups had 0.49 to 0.83, single objects 0.85 to 0.95.
const CONFIRMED: f64 = 0.85;

/// The second stage, and where it looks.
#[derive(Clone, Debug)]
pub(super) struct StandIn {
    net: IsNetPredictor,
    surroundings: Surroundings,
}

impl StandIn {
    pub fn new(net: IsNetPredictor, surroundings: Surroundings) -> Self {
        Self { net, surroundings }
    }

    fn look(&self, image: &RgbImage, bbox: [u32; 4]) -> Result<Sight> {
        Sight::new(&self.net, image, self.surroundings.window(bbox, image.dimensions()))
    }

    /// Both stages: the candidate that IS-Net sees, too.
    pub fn predict(
        &self,
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        image: &RgbImage,
        prompts: &Prompts,
    ) -> Result<Refinement> {
        let (prompts, _) = prompts.clamped(image.width(), image.height())?;
        let prompts = prompts.as_ref();
        let candidates = CoarseMask::candidates(model, embedding, prompts)?;
        match prompts.bbox {
            Some(bbox) => self.in_box(image, &prompts.points, candidates, pixels(bbox, image.dimensions())),
            None => self.at_clicks(image, &prompts.points, candidates, |[x0, y0, x1, y1]| {
                let bbox = Some([x0 as f32, y0 as f32, x1 as f32, y1 as f32]);
                CoarseMask::candidates(model, embedding, &Prompts { bbox, ..prompts.clone() })
            }),
        }
    }

    /// A coarse mask without others to choose from.
    pub fn refine(&self, image: &RgbImage, points: &[Point], coarse: CoarseMask) -> Result<Refinement> {
        let sight = self.look(image, coarse.bbox)?;
        let agreement = iou(&sight.part(&coarse.mask), &sight.seen);
        settle(&self.surroundings, points, Chosen { coarse, agreement, passed_over: None }, &sight, None)
    }

    /// A box tells where to look: of the candidates the one that agrees best with what IS-Net sees in it.
    fn in_box(
        &self,
        image: &RgbImage,
        points: &[Point],
        candidates: Vec<CoarseMask>,
        bbox: [u32; 4],
    ) -> Result<Refinement> {
        let room = grown(bbox, self.surroundings.reach(bbox) as u32, image.dimensions());
        let sight = self.look(image, bbox)?.within(room);
        let chosen = choose(candidates, |c| Ok(iou(&sight.part(&c.mask), &sight.seen)))?;
        settle(&self.surroundings, points, chosen, &sight, Some(bbox))
    }

    /// Clicks may mean a part, an object, or a group. Where IS-Net, from near, sees the likeliest candidate, it is that: one of
    /// several objects. Where not, it may be a part of what IS-Net sees in the whole image, which is taken if another candidate shows
    /// it, or if the first stage does when asked for its box. And else it is the likeliest.
    fn at_clicks(
        &self,
        image: &RgbImage,
        points: &[Point],
        candidates: Vec<CoarseMask>,
        ask_for: impl Fn([u32; 4]) -> Result<Vec<CoarseMask>>,
    ) -> Result<Refinement> {
        let settle = |chosen, sight: &Sight| settle(&self.surroundings, points, chosen, sight, None);
        let likeliest = choose(candidates.clone(), |_| Ok(0.))?.coarse;
        let near = self.look(image, likeliest.bbox)?;
        let close = iou(&near.part(&likeliest.mask), &near.seen);
        if close < SAME {
            let (width, height) = image.dimensions();
            let scene = self.look(image, [0, 0, width, height])?;
            let object = scene.seen.clicked(&scene.clicks(points, true), &scene.clicks(points, false))?;
            let outline = object.filled()?;
            // coarse masks fill what is between spokes, but not what a handle encloses
            let agree = |c: &CoarseMask| {
                let part = scene.part(&c.mask);
                Ok(iou(&part, &object).max(iou(&part.filled()?, &outline)))
            };
            let shown = choose(candidates, agree)?;
            if shown.agreement >= SAME {
                let passed_over = (shown.coarse.candidate != likeliest.candidate).then_some(close);
                return settle(Chosen { passed_over, ..shown }, &scene);
            }
            if let Some(bbox) = extent(&object.inside, width, height)? {
                let shown = choose(ask_for(bbox)?, agree)?;
                if shown.agreement >= CONFIRMED {
                    let coarse = CoarseMask { candidate: None, ..shown.coarse };
                    return settle(Chosen { coarse, passed_over: Some(close), ..shown }, &scene);
                }
            }
        }
        settle(Chosen { coarse: likeliest, agreement: close, passed_over: None }, &near)
    }
}

/// A box within the image in whole pixels, at least one.
fn pixels([x0, y0, x1, y1]: [f32; 4], (width, height): (u32, u32)) -> [u32; 4] {
    let (left, top) = ((x0 as u32).min(width - 1), (y0 as u32).min(height - 1));
    [left, top, (x1.ceil() as u32).clamp(left + 1, width), (y1.ceil() as u32).clamp(top + 1, height)]
}
